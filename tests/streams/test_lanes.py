"""Lanes: order within a partition, side by side across them, bounded, and nothing acknowledged that was not done."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from schemas.events import Failure
from schemas.topics import SUBMITTED
from streams.lanes import LANE_RECORDS_MAX, Ack, Lanes
from streams.outbox import Outbox
from streams.record import Record
from streams.stage import Stage
from tests.conditions import eventually
from tests.streams.records import record


class Gated(Stage):
    """Handles a record once the gate of its partition is open."""

    name = "gated"
    topic = SUBMITTED
    batch_records_max = 4

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox, 1)
        self.gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.begun: list[tuple[int, int]] = []
        self.done: list[tuple[int, int]] = []
        self.batches: list[int] = []

    async def handle(self, records: Sequence[Record]) -> None:
        places = [(each.partition, each.offset) for each in records]
        self.begun += places
        self.batches.append(len(places))
        await self.gates[records[0].partition].wait()
        self.done += places

    async def give_up(self, record: Record, failure: Failure) -> None:
        raise AssertionError(failure.message)


@pytest.fixture
def stage(outbox: Outbox) -> Gated:
    return Gated(outbox)


class Acks:
    """Notes what was acknowledged."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []

    def of(self, each: Record) -> Ack:
        async def ack() -> None:
            self.places.append((each.partition, each.offset))

        return ack


async def fill(lanes: Lanes, acks: Acks, tenant: str, partition: int, offsets: range) -> None:
    for offset in offsets:
        each = record(tenant, offset, partition=partition)
        await lanes.put(each, acks.of(each))


async def happened(what: Callable[[], bool]) -> None:
    async def probe() -> bool:
        return what()

    await eventually(probe)


def never(error: BaseException) -> None:
    raise AssertionError("no lane crashes here") from error


async def test_a_lane_that_crashes_is_told_and_acknowledges_nothing(stage: Gated, tenant: str) -> None:
    crashes: list[BaseException] = []

    async def refuse() -> None:
        raise ConnectionResetError("the consumer is gone")

    lanes = Lanes(stage, crashes.append)
    stage.gates[0].set()
    await lanes.put(record(tenant, 0, partition=0), refuse)
    await happened(lambda: [type(crash) for crash in crashes] == [ConnectionResetError])
    await lanes.stop()


async def test_partitions_keep_their_order_and_do_not_wait_for_each_other(stage: Gated, tenant: str) -> None:
    lanes, acks = Lanes(stage, never), Acks()
    for partition in (0, 1):
        await fill(lanes, acks, tenant, partition, range(10))
    stage.gates[1].set()
    await happened(lambda: acks.places == [(1, offset) for offset in range(10)])
    assert stage.done == acks.places
    stage.gates[0].set()
    await happened(lambda: acks.places == [(partition, offset) for partition in (1, 0) for offset in range(10)])
    assert stage.done == acks.places
    assert max(stage.batches) == stage.batch_records_max
    await lanes.stop()


async def test_a_full_lane_holds_the_reader_back(stage: Gated, tenant: str) -> None:
    lanes, acks = Lanes(stage, never), Acks()
    # What is being handled has left the queue.
    await fill(lanes, acks, tenant, 0, range(1))
    await happened(lambda: stage.begun == [(0, 0)])
    await fill(lanes, acks, tenant, 0, range(1, 1 + LANE_RECORDS_MAX))
    waiting = asyncio.create_task(fill(lanes, acks, tenant, 0, range(1 + LANE_RECORDS_MAX, 2 + LANE_RECORDS_MAX)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    stage.gates[0].set()
    await asyncio.wait_for(waiting, 10)
    await happened(lambda: acks.places == [(0, offset) for offset in range(2 + LANE_RECORDS_MAX)])
    await lanes.stop()


async def test_what_is_dropped_is_not_acknowledged(stage: Gated, tenant: str) -> None:
    lanes, acks = Lanes(stage, never), Acks()
    for partition in (0, 1):
        await fill(lanes, acks, tenant, partition, range(3))
    await happened(lambda: {(0, 0), (1, 0)} <= set(stage.begun))
    await lanes.drop([0, 7])
    for partition in (0, 1):
        stage.gates[partition].set()
    await happened(lambda: acks.places == [(1, offset) for offset in range(3)])
    assert stage.done == acks.places
    # The partition may come back, from where it was acknowledged.
    await fill(lanes, acks, tenant, 0, range(2))
    await happened(lambda: acks.places[3:] == [(0, 0), (0, 1)])
    await lanes.stop()


async def test_a_reader_that_waits_for_room_goes_on_when_its_lane_is_dropped(stage: Gated, tenant: str) -> None:
    lanes, acks = Lanes(stage, never), Acks()
    waiting = asyncio.create_task(fill(lanes, acks, tenant, 0, range(LANE_RECORDS_MAX + 10)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    await lanes.drop([0])
    stage.gates[0].set()
    await asyncio.wait_for(waiting, 10)
    await lanes.stop()
    assert (0, 0) not in acks.places
