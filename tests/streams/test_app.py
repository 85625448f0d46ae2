"""What Faust is trusted with: every record is delivered, again if its handling was cut, and only then passed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.broker import BrokerSettings, ensure_topics
from tests.conditions import eventually
from tests.streams.delivery import PARTITIONS, topic_named
from tests.streams.topic import writing

RECORDS = 12
HANGING = "0-5"


@contextmanager
def worker(topic: str, notes: Path, hang_on: str = "") -> Iterator[None]:
    """The worker in a process of its own, until it is killed."""
    process = subprocess.Popen([sys.executable, "-m", "tests.streams.delivery", topic, str(notes), hang_on])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def committed(topic: str) -> int:
    admin = AIOKafkaAdminClient(**BrokerSettings().client())
    await admin.start()
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    try:
        offsets = await admin.list_consumer_group_offsets(f"group-of-{topic}", partitions=partitions)
    finally:
        await admin.close()
    return sum(max(0, each.offset) for each in offsets.values())


async def test_what_a_killed_worker_was_at_comes_again(
    environment: dict[str, str], tenant: str, tmp_path: Path
) -> None:
    topic = topic_named(f"tests.{tenant}")
    await ensure_topics(BrokerSettings(), [topic])
    values = [f"{partition}-{index}" for partition in range(PARTITIONS) for index in range(RECORDS)]
    async with writing() as kafka:
        for value in values:
            await kafka.send_and_wait(topic.name, value.encode(), partition=int(value[0]))

    def noted(name: str) -> list[str]:
        notes = tmp_path / name
        return notes.read_text().split() if notes.exists() else []

    async def handled(name: str, wanted: set[str]) -> bool:
        return wanted <= set(noted(name))

    before = {f"0-{index}" for index in range(6)} | {f"1-{index}" for index in range(RECORDS)}
    with worker(topic.name, tmp_path / "first", HANGING):
        # The other partition goes on meanwhile.
        await eventually(lambda: handled("first", before))
        await eventually(lambda: _reached(topic.name, 5 + RECORDS))
    assert set(noted("first")) == before

    with worker(topic.name, tmp_path / "second"):
        await eventually(lambda: handled("second", {f"0-{index}" for index in range(5, RECORDS)}))
        await eventually(lambda: _reached(topic.name, 2 * RECORDS))
    assert noted("second") == [f"0-{index}" for index in range(5, RECORDS)]


async def _reached(topic: str, count: int) -> bool:
    reached = await committed(topic)
    assert reached <= count, "committed what was not done"
    return reached == count
