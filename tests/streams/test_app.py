"""What Faust is trusted with: every record is delivered, again if its handling was cut, and only then passed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.broker import BrokerSettings, ensure_topics
from streams.lanes import HELD_RECORDS_MAX
from tests.conditions import eventually
from tests.streams.delivery import PARTITIONS, topic_named
from tests.streams.topic import writing

RECORDS = 12
MANY = HELD_RECORDS_MAX + 200
"""More than the lanes hold and Faust reads ahead."""
HANGING = "0-5"


@contextmanager
def worker(topic: str, notes: Path, hang_on: str = "", instance: str = "one") -> Iterator[None]:
    """The worker in a process of its own, until it is killed."""
    environment = {**os.environ, "MILLRACE_WORKER_INSTANCE_ID": instance, "MILLRACE_WORKER_SESSION_TIMEOUT_S": "6"}
    command = [sys.executable, "-m", "tests.streams.delivery", topic, str(notes), hang_on]
    process = subprocess.Popen(command, env=environment)
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


@pytest.mark.parametrize("hanging", [0, 1, 5])
async def test_what_was_done_behind_an_unfinished_record_is_not_committed(
    environment: dict[str, str], tenant: str, tmp_path: Path, hanging: int
) -> None:
    """Faust alone would commit past a record at the head of its partition as soon as the next one is acknowledged."""
    topic = topic_named(f"tests.{tenant}")
    await ensure_topics(BrokerSettings(), [topic])
    async with writing() as kafka:
        for index in range(RECORDS):
            await kafka.send_and_wait(topic.name, f"0-{index}".encode(), key=f"t/{index}".encode(), partition=0)

    async def noted(name: str, wanted: set[str]) -> bool:
        notes = tmp_path / name
        return notes.exists() and set(notes.read_text().split()) == wanted

    everything = {f"0-{index}" for index in range(RECORDS)}
    with worker(topic.name, tmp_path / "first", f"0-{hanging}"):
        await eventually(lambda: noted("first", everything))
        async with writing() as kafka:
            await kafka.send_and_wait(topic.name, b"1-0", partition=1)
        # Once this one is committed, too, what could be committed of the others has been.
        await eventually(lambda: _reached(topic.name, hanging + 1))
    with worker(topic.name, tmp_path / "second"):
        await eventually(lambda: noted("second", {f"0-{index}" for index in range(hanging, RECORDS)}))
        await eventually(lambda: _reached(topic.name, RECORDS + 1))


async def test_what_was_never_committed_comes_again_after_a_rebalance(
    environment: dict[str, str], tenant: str, tmp_path: Path
) -> None:
    topic = topic_named(f"tests.{tenant}")
    await ensure_topics(BrokerSettings(), [topic])
    async with writing() as kafka:
        for partition in range(PARTITIONS):
            await kafka.send_and_wait(topic.name, HANGING.encode(), partition=partition)

    def count() -> int:
        return sum(len(notes.read_text().split()) for notes in tmp_path.iterdir())

    async def handled(times: int) -> bool:
        return count() == times

    with worker(topic.name, tmp_path / "first", HANGING, instance="one"):
        await eventually(lambda: handled(PARTITIONS))
        # The rebalance drops what hangs; one partition stays, the other goes, and both are read from their beginning.
        with worker(topic.name, tmp_path / "second", HANGING, instance="two"):
            await eventually(lambda: handled(2 * PARTITIONS), deadline_s=60)
    assert await committed(topic.name) == 0


async def test_full_lanes_do_not_hold_up_a_rebalance(environment: dict[str, str], tenant: str, tmp_path: Path) -> None:
    topic = topic_named(f"tests.{tenant}.two")
    await ensure_topics(BrokerSettings(), [topic])
    values = [f"{partition}-{index}" for index in range(MANY) for partition in range(PARTITIONS)]
    async with writing() as kafka:
        for value in values:
            await kafka.send(topic.name, value.encode(), partition=int(value[0]))

    def noted() -> set[str]:
        return {line for notes in tmp_path.iterdir() for line in notes.read_text().split()}

    async def handled(wanted: set[str]) -> bool:
        return wanted <= noted()

    with worker(topic.name, tmp_path / "first", HANGING, instance="one"):
        await eventually(lambda: handled({HANGING}))
        # The lanes are full and their reader waits: now half of the partitions go to another worker.
        with worker(topic.name, tmp_path / "second", instance="two"):
            await eventually(lambda: handled({value for value in values if value.startswith("1")}), deadline_s=60)
    with worker(topic.name, tmp_path / "third", instance="two"):
        await eventually(lambda: handled(set(values)), deadline_s=60)
        await eventually(lambda: _reached(topic.name, len(values)))


async def _reached(topic: str, count: int) -> bool:
    reached = await committed(topic)
    assert reached <= count, "committed what was not done"
    return reached == count
