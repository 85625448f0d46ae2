"""What a document costs, held against the committed baseline: counts, and processor time as a ratio, never seconds.

`python -m benchmarks.check` ends with 1 where something has become dearer than `baseline.json` allows, and takes a
minute. ``--update`` writes the baseline anew: commit it with the reason.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import corpora, ingest, limits
from benchmarks.results import say
from benchmarks.system import System, millrace, servers
from schemas.topics import TOPICS

BASELINE = Path(__file__).with_name("baseline.json")
CORPUS = "3k"
COUNTED = 0.15
"""More by so much is a regression: beside the documents, the processes look after themselves once a second."""
TIMED = 0.5
"""Processor time differs by a third between runs on a machine that others use."""


@dataclass(frozen=True, slots=True)
class Cost:
    """``tolerance``: the share by which it may be exceeded."""

    value: float
    tolerance: float

    @property
    def most(self) -> float:
        """What is still no regression."""
        return self.value * (1 + self.tolerance)


def measure() -> dict[str, Cost]:
    """Costs by name, of an ingest over Kafka and of the parts alone."""
    with tempfile.TemporaryDirectory(prefix="millrace-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        corpora.write(folder / "corpus", corpora.SIZES[CORPUS])
        chunks, _ = limits.chunked(folder / "corpus")
        vectors, paces = limits.embedded([each.embedding_input() for each in chunks])
        with servers(folder / "alone") as started:
            copied = asyncio.run(limits.copied(started, chunks, vectors))["copy, with text vector and its index"]
        alone_ms = 1e3 * (paces["processes"].cpu_s + copied.cpu_s) / len(chunks)
        with millrace(folder / "millrace") as system:
            before = counts(system)
            ingested = asyncio.run(ingest.ingest(system, folder / "corpus", ingest.over_kafka))
            after = counts(system)
    counted = {name: after[name] - before[name] for name in after}
    taken_ms = 1e3 * sum(ingested.cpu_s.values()) / ingested.chunks
    return {
        "Postgres transactions per document": Cost(counted["transactions"] / ingested.documents, COUNTED),
        "Postgres rows written per chunk": Cost(counted["rows"] / ingested.chunks, COUNTED),
        "Kafka records per document": Cost(counted["records"] / ingested.documents, COUNTED),
        "contents embedded per chunk": Cost(counted["embedded"] / ingested.chunks, COUNTED),
        "processor time of embedding and COPY alone": Cost(taken_ms / alone_ms, TIMED),
    }


def counts(system: System) -> dict[str, float]:
    """What the servers and the worker have counted so far."""
    with psycopg.connect(system.dsn) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute(
            "SELECT xact_commit + xact_rollback, tup_inserted + tup_updated + tup_deleted FROM pg_stat_database "
            "WHERE datname = current_database()"
        ).fetchone()
    assert row
    return {
        "transactions": float(row[0]),
        "rows": float(row[1]),
        "records": float(asyncio.run(_records(system))),
        "embedded": system.count("millrace_chunks_embedded"),
    }


async def _records(system: System) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=system.bootstrap_servers)
    await consumer.start()
    places = [TopicPartition(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
    ends = await consumer.end_offsets(places)
    await consumer.stop()
    return sum(ends.values())


def regressions(measured: Mapping[str, Cost], baseline: Mapping[str, Cost]) -> list[str]:
    """A line for each cost that is beyond what the baseline allows, or is in one of them only."""
    lines = [f"{name} is not in both" for name in measured.keys() ^ baseline.keys()]
    lines += [
        f"{name}: {measured[name].value:.2f}, where at most {baseline[name].most:.2f} is allowed"
        for name in measured.keys() & baseline.keys()
        if measured[name].value > baseline[name].most
    ]
    return sorted(lines)


def main() -> int:
    """Measure and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    update = parser.parse_args().update
    measured = measure()
    for name, cost in measured.items():
        say(f"{name}: {cost.value:.2f}")
    if update:
        rounded = {name: asdict(Cost(round(cost.value, 3), cost.tolerance)) for name, cost in measured.items()}
        BASELINE.write_text(json.dumps(rounded, indent=2) + "\n")
        return 0
    baseline = {name: Cost(**values) for name, values in json.loads(BASELINE.read_text()).items()}
    found = regressions(measured, baseline)
    for line in found:
        say(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
