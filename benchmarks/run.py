"""The parts of the benchmark, each of which can be run alone; what one has measured stays when another fails."""

import argparse
import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import beside, corpora, freshness, ingest, limits, public, report, search
from benchmarks.endpoint import MODEL
from benchmarks.report import CORPORA, DOORS, PUBLIC
from benchmarks.results import Results, say
from benchmarks.system import System, millrace, servers
from schemas.broker import BrokerSettings, ensure_topics

DATA = Path(".millrace/bench")
RESULTS = Path("benchmarks/results")
WITHOUT = {"synchronous commit": "synchronous_commit = off", "fsync": "fsync = off"}
"""Guarantees of Postgres', and the setting that gives each up; Millrace itself has no such switch."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where everything is."""

    data: Path
    results: Results
    size: str

    @property
    def corpus(self) -> Path:
        """The corpus' folder, made when it is first asked for."""
        folder = self.data / "corpora" / self.size
        if not (folder / "about.json").exists():
            say(f"writing the corpus {self.size}")
            made = public.documents() if self.size == PUBLIC else corpora.documents(corpora.SIZES[self.size])
            corpora.write(folder, made)
        return folder

    @property
    def home(self) -> Path:
        """Where the Millrace is that has the corpus."""
        return self.data / "homes" / self.size

    @property
    def scratch(self) -> Path:
        """For servers that are needed once."""
        return self.data / "homes" / "scratch"


def measure_limits(run: Run) -> None:
    """Each part alone."""
    say("limits: chunking and embedding")
    chunks, chunking = limits.chunked(run.corpus)
    vectors, paces = limits.embedded([each.embedding_input() for each in chunks])
    figures = {"chunk, one process": chunking.figures()}
    figures |= {f"embed, {name}": pace.figures() for name, pace in paces.items()}
    with servers(run.scratch, anew=True) as started:
        say("limits: COPY and HNSW")
        asyncio.run(ensure_topics(BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=started.kafka.bootstrap_servers)))
        figures |= {name: pace.figures() for name, pace in asyncio.run(limits.copied(started, chunks, vectors)).items()}
        say("limits: the broker")
        figures |= {name: pace.figures() for name, pace in asyncio.run(limits.broker(started)).items()}
    run.results.record("limits", run.size, figures)


def measure_ingest(run: Run) -> None:
    """Through both doors; what came over HTTP stays for the other parts."""
    for door, name, home in ((ingest.over_kafka, "kafka", run.scratch), (ingest.over_http, "http", run.home)):
        say(f"ingest of {run.size} over {name}")
        with millrace(home, anew=True) as system:
            figures = _ingest(system, run, door)
            figures["stored_bytes"] = asyncio.run(ingest.stored(system))
        run.results.record(f"ingest over {name}", run.size, figures)


def measure_peers(run: Run) -> None:
    """Each beside the others, and then Millrace by the door of those that take no embedder in process.

    A peer that fails is reported and left out.
    """
    with servers(run.scratch, anew=True) as started:
        for peer in beside.PEERS:
            say(f"{peer} with {run.size}")
            try:
                figures = beside.measure(peer, run.data / "peers", started, run.corpus)
            except (beside.PeerFailed, OSError, subprocess.SubprocessError) as error:
                say(str(error))
                continue
            run.results.record(f"peer {peer}", run.size, figures)
    _measure_by_endpoint(run)


def _measure_by_endpoint(run: Run) -> None:
    say(f"Millrace over kafka with {run.size}, its embedder over http")
    with ExitStack() as stack:
        url, process = stack.enter_context(beside.endpoint(run.data / "logs"))
        settings = {
            "MILLRACE_EMBEDDER_KIND": "openai",
            "MILLRACE_EMBEDDER_URL": url,
            "MILLRACE_EMBEDDER_MODEL": MODEL,
        }
        system = stack.enter_context(millrace(run.scratch, anew=True, settings=settings))
        figures = _ingest(replace(system, parts={**system.parts, "endpoint": process}), run, ingest.over_kafka)
    run.results.record(DOORS["over Kafka, embedder over HTTP"], run.size, figures)


def measure_search(run: Run) -> None:
    """On what was ingested over HTTP."""
    say(f"search in {run.size}")
    with _ingested(run) as system:
        run.results.record("search", run.size, asyncio.run(search.measure(system, run.corpus)))


def measure_freshness(run: Run) -> None:
    """Beside what was ingested over HTTP, and at shares of the pace that was measured then."""
    say(f"freshness beside {run.size}")
    with _ingested(run) as system:
        ingested = run.results.section("ingest over http", run.size) or {}
        documents_per_s = ingested["documents"] / ingested["searchable_s"]
        figures = asyncio.run(freshness.measure(system, run.corpus, documents_per_s))
        run.results.record("freshness", run.size, figures)


def measure_guarantees(run: Run) -> None:
    """The same ingest where Postgres does not wait for its disk, so that what was acknowledged may be lost with it."""
    for name, setting in WITHOUT.items():
        say(f"ingest of {run.size} without {name}")
        with millrace(run.scratch, anew=True) as system:
            system.alter_postgres(setting)
            figures = _ingest(system, run, ingest.over_kafka)
        run.results.record(f"ingest without {name}", run.size, figures)


def draw(run: Run) -> None:
    """The table and the plots of what is recorded."""
    report.write(run.results)


def _ingest(system: System, run: Run, door: ingest.Door) -> dict[str, Any]:
    """The corpus through a door, into a Millrace that is warm."""
    asyncio.run(ingest.warm_up(system, run.corpus))
    return asyncio.run(ingest.ingest(system, run.corpus, door)).figures()


@contextmanager
def _ingested(run: Run) -> Iterator[System]:
    if run.results.section("ingest over http", run.size) is None or not run.home.exists():
        measure_ingest(run)
    with millrace(run.home) as system:
        asyncio.run(ingest.warm_up(system, run.corpus))
        asyncio.run(ingest.indexed(system))
        yield system


PARTS: dict[str, Callable[[Run], None]] = {
    "limits": measure_limits,
    "peers": measure_peers,
    "ingest": measure_ingest,
    "search": measure_search,
    "freshness": measure_freshness,
    "guarantees": measure_guarantees,
    "report": draw,
}


def main() -> None:
    """Run the parts that are named, in their order."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"Any of {', '.join(PARTS)}; all if none.")
    parser.add_argument("--corpus", choices=CORPORA, default="10k")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    run = Run(arguments.data, Results(arguments.results), arguments.corpus)
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for part in arguments.parts or PARTS:
        PARTS[part](run)


if __name__ == "__main__":
    main()
