"""What a document costs, held against the committed baseline: counts, and processor time as a ratio, never seconds.

`python -m benchmarks.check` ends with 1 where something has become dearer than `baseline.json` allows, and takes a
minute. ``--update`` writes the baseline anew: commit it with the reason.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import corpora, ingest, limits
from benchmarks.results import say
from benchmarks.system import System, millrace, servers
from schemas.topics import TOPICS

BASELINE = Path(__file__).with_name("baseline.json")
CORPUS = "3k"
COUNTED = 0.1
ONE_STATEMENT = 0.04
"""There are less than 25."""
WRITTEN_ALONE = 20
SETTLED_S = 0.5
IDLE_S = 6.0
"""Of the clocks' statements, the rarest but one come every five seconds."""
MILLRACES = re.compile(r"^millrace\|LOG:  (?:execute [^:]+|statement): (.*(?:\n\t.*)*)", re.MULTILINE)
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
        corpora.write(folder / "corpus", corpora.documents(corpora.SIZES[CORPUS]))
        # Before and after, since a machine that others use is now and then slower for a minute.
        alone_ms = [_alone_ms(folder, "before")]
        with millrace(folder / "millrace") as system:
            asyncio.run(ingest.warm_up(system, folder / "corpus"))
            before = counts(system)
            ingested = asyncio.run(ingest.ingest(system, folder / "corpus", ingest.over_kafka))
            after = counts(system)
            statements = asyncio.run(statements_per_document(system))
        alone_ms.append(_alone_ms(folder, "after"))
    counted = {name: after[name] - before[name] for name in after}
    taken_ms = 1e3 * sum(ingested.cpu_s.values()) / ingested.chunks
    return {
        "Postgres statements per document": Cost(statements, ONE_STATEMENT),
        "Kafka records per document": Cost(counted["records"] / ingested.documents, COUNTED),
        "contents embedded per chunk": Cost(counted["embedded"] / ingested.chunks, COUNTED),
        "processor time of embedding and COPY alone": Cost(taken_ms / fmean(alone_ms), TIMED),
    }


def _alone_ms(folder: Path, moment: str) -> float:
    """Milliseconds of processor time that a chunk takes to be embedded and copied, with nothing else to do."""
    chunks, _ = limits.chunked(folder / "corpus")
    vectors, paces = limits.embedded([each.embedding_input() for each in chunks])
    with servers(folder / moment) as started:
        copied = asyncio.run(limits.copied(started, chunks, vectors))["copy, with text vector and its index"]
    return 1e3 * (paces["processes"].cpu_s + copied.cpu_s) / len(chunks)


def counts(system: System) -> dict[str, float]:
    """What Kafka and the worker have counted so far."""
    return {
        "records": float(asyncio.run(_records(system))),
        "embedded": system.count("millrace_chunks_embedded"),
    }


async def statements_per_document(system: System) -> float:
    """How many the worker and the gateway send to Postgres for a document that comes alone, but for those of clocks."""
    log = system.home.logs / "postgres.log"
    system.alter_postgres("log_line_prefix = '%a|'")
    system.alter_postgres("log_statement = 'all'")
    await _write(system, 0)  # sessions take the settings before their next statement
    idle_from = log.stat().st_size
    await asyncio.sleep(IDLE_S)
    busy_from, began = log.stat().st_size, time.perf_counter()
    for number in range(1, 1 + WRITTEN_ALONE):
        await _write(system, number)
    idles = (time.perf_counter() - began) / IDLE_S
    text = log.read_bytes()
    idle, busy = _statements(text[idle_from:busy_from]), _statements(text[busy_from:])
    return float(sum(max(0, round((many - idles * idle[each]) / WRITTEN_ALONE)) for each, many in busy.items()))


async def _write(system: System, number: int) -> None:
    """Write a small document and wait until what is done for it has ended."""
    document = {"id": f"alone-{number}", "title": "Alone", "collection": "alone", "text": f"Letter {number}."}
    async with aiohttp.ClientSession(headers=system.headers) as http:
        await ingest.post(http, f"{system.url}/v1/documents", document)
    await asyncio.sleep(SETTLED_S)


def _statements(log: bytes) -> Counter[str]:
    return Counter(MILLRACES.findall(log.decode()))


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
