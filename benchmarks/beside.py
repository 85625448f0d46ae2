"""The peers, each in its own environment, on the same Postgres, with the same corpus and the same embedder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from benchmarks.results import say
from benchmarks.search import COLLECTION
from benchmarks.usage import cpu_s
from millrace.local.postgres import LocalPostgres

PEERS = ("langchain", "llamaindex", "cocoindex", "haystack")
SCRIPTS = Path(__file__).parent / "peers"
CLIENTS = (1, 8)
SECONDS = 8
TIMEOUT_S = 3_000


class PeerFailed(Exception):
    """A peer's script ended with an error."""


def measure(peer: str, environments: Path, postgres: LocalPostgres, corpus: Path) -> dict[str, Any]:
    """Its ingest into an empty database, then its searches. Raises `PeerFailed`."""
    python = environment(peer, environments / peer)
    with database(postgres.dsn, peer) as dsn:
        server = psutil.Process(postgres.pid)
        before = cpu_s(server)
        figures = _run(python, peer, "ingest", "--corpus", str(corpus), "--dsn", dsn)
        figures["postgres_cpu_s"] = round(cpu_s(server) - before, 3)
        for unit in ("chunks", "characters"):
            for moment in ("searchable", "indexed"):
                figures[f"{unit}_per_s_{moment}"] = round(figures[unit] / figures[f"{moment}_s"], 1)
        asked = ["search", "--corpus", str(corpus), "--dsn", dsn, "--seconds", str(SECONDS)]
        for clients in CLIENTS:
            figures[f"clients: {clients}"] = _answered(_run(python, peer, *asked, "--clients", str(clients)))
        filtered = _run(python, peer, *asked, "--clients", "1", "--filter", COLLECTION)
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


def _run(python: Path, peer: str, *arguments: str) -> dict[str, Any]:
    command = [str(python), "-m", f"benchmarks.peers.{peer}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode:
        raise PeerFailed(f"{peer} {arguments[0]}: {ended.stderr[-2_000:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _answered(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "per_s", "vectors_exact_recall_at_10")}
