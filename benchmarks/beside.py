"""The peers, each in its own environment, on the same Postgres, with the same corpus and the same embedder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from benchmarks.results import say
from benchmarks.search import COLLECTION
from benchmarks.system import Servers, answers
from benchmarks.usage import cpu_between, cpu_by_part
from millrace.local.ports import HOST, free_port
from millrace.local.process import Child

PEERS = ("langchain", "llamaindex", "cocoindex", "haystack", "pgai", "pathway")
OVER_HTTP = ("pgai",)
"""Those that take no embedder in process."""
SCRIPTS = Path(__file__).parent / "peers"
CLIENTS = (1, 8)
SECONDS = 8
TIMEOUT_S = 3_000
ENDPOINT_DEADLINE_S = 60


class PeerFailed(Exception):
    """A peer's script ended with an error."""


def measure(peer: str, environments: Path, started: Servers, corpus: Path) -> dict[str, Any]:
    """Its ingest into an empty database, then its searches. Raises `PeerFailed`."""
    python = environment(peer, environments / peer)
    parts = {"postgres": psutil.Process(started.postgres.pid)}
    with ExitStack() as stack:
        dsn = stack.enter_context(database(started.postgres.dsn, peer))
        asked = ["--corpus", str(corpus), "--dsn", dsn]
        if peer in OVER_HTTP:
            url, parts["endpoint"] = stack.enter_context(endpoint(started.home.logs))
            asked += ["--embedder", url]
        before = cpu_by_part(parts)
        figures = _run(python, peer, "ingest", *asked)
        used = cpu_between(before, cpu_by_part(parts))
        figures |= {f"{part}_cpu_s": seconds for part, seconds in used.items()}
        for unit in ("chunks", "characters"):
            for moment in ("searchable", "indexed"):
                figures[f"{unit}_per_s_{moment}"] = round(figures[unit] / figures[f"{moment}_s"], 1)
        asked += ["--seconds", str(SECONDS)]
        for clients in CLIENTS:
            figures[f"clients: {clients}"] = _answered(_run(python, peer, "search", *asked, "--clients", str(clients)))
        filtered = _run(python, peer, "search", *asked, "--clients", "1", "--filter", COLLECTION)
        figures["filtered, clients: 1"] = _answered(filtered)
    return figures


def environment(peer: str, folder: Path) -> Path:
    """The interpreter of the peer's environment, made of its pinned requirements where it is not there."""
    python = folder / "bin" / "python"
    requirements = SCRIPTS / f"{peer}.txt"
    made = folder / "requirements.txt"
    if not made.exists() or made.read_text() != requirements.read_text():
        say(f"making the environment of {peer}")
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        # Copies, since NLTK, which a splitter uses, refuses files with a second hard link.
        install = ["uv", "pip", "sync", "--quiet", "--link-mode", "copy", "--python", str(python), str(requirements)]
        subprocess.run(install, check=True)
        made.write_text(requirements.read_text())
    return python


@contextmanager
def database(dsn: str, name: str) -> Iterator[str]:
    """An empty database of this name; its DSN."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield dsn.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def endpoint(logs: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`benchmarks.endpoint`; its base URL and its process."""
    port = free_port()
    url = f"http://{HOST}:{port}/v1"
    child = Child("endpoint", [sys.executable, "-m", "benchmarks.endpoint", "--port", str(port)], logs=logs)
    try:
        child.wait_until(lambda: answers(f"{url}/models"), deadline_s=ENDPOINT_DEADLINE_S)
        yield url, psutil.Process(child.pid)
    finally:
        child.terminate(deadline_s=ENDPOINT_DEADLINE_S)


def _run(python: Path, peer: str, *arguments: str) -> dict[str, Any]:
    command = [str(python), "-m", f"benchmarks.peers.{peer}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode:
        raise PeerFailed(f"{peer} {arguments[0]}: {ended.stderr[-2_000:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _answered(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "per_s", "vectors_exact_recall_at_10")}
