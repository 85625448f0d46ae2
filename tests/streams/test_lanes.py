"""Lanes: order within a key, side by side across keys, fair, bounded, and nothing passed that was not done."""

import asyncio
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import EmbedderUnavailable
from schemas.events import Failure
from schemas.topics import SUBMITTED
from streams.lanes import HELD_BYTES_MAX, HELD_RECORDS_MAX, Lanes
from streams.record import Record
from streams.stage import SomeFailed, Stage
from tests.conditions import eventually
from tests.streams.records import record

BATCH_RECORDS_MAX = 4
CONCURRENCY = 3
MANY = 10_000

Place = tuple[int, int]


def place(each: Record) -> Place:
    return each.partition, each.offset


class Gated(Stage):
    """Handles a record once its gate is open; notes what it does, and that the rules of lanes are kept meanwhile."""

    name = "gated"
    topic = SUBMITTED
    batch_records_max = BATCH_RECORDS_MAX
    concurrency = CONCURRENCY

    def __init__(self) -> None:
        # What is tested here needs no outbox, and lets nothing out.
        super().__init__(None, 2)  # type: ignore[arg-type]
        self.gates: dict[Place, asyncio.Future[bool | Exception]] = {}
        """Whether a record fails, perhaps with an error of its own; raises what all of its batch fail of."""
        self.running: set[tuple[int, bytes]] = set()
        self.begun: list[Record] = []
        self.done: list[Record] = []
        self.given_up: list[Place] = []
        self.batches: list[list[Place]] = []
        self.opened = False
        self.broken = False
        """Whether one lane had two batches at a time, or all lanes together too many."""

    async def handle(self, records: Sequence[Record]) -> None:
        lanes = {(each.partition, self.lane_of(each)) for each in records}
        self.broken |= bool(self.running & lanes) or len(self.batches_running()) >= CONCURRENCY
        self.running |= lanes
        self.begun += records
        self.batches.append([place(each) for each in records])
        done: list[Record] = []
        failed: dict[Record, Exception | None] = {}
        try:
            for each in records:
                lane = each.partition, self.lane_of(each)
                if lane in [(before.partition, self.lane_of(before)) for before in failed]:
                    failed[each] = None
                    continue
                if not self.opened:
                    gate = self.gates.setdefault(place(each), asyncio.get_running_loop().create_future())
                    if apart := await gate:
                        failed[each] = apart if isinstance(apart, Exception) else None
                        continue
                done.append(each)
            self.done += done
            if failed:
                raise SomeFailed(failed)
        finally:
            self.running -= lanes
            for each in records:
                self.gates.pop(place(each), None)

    async def give_up(self, record: Record, failure: Failure) -> None:
        self.given_up.append(place(record))

    def batches_running(self) -> list[Place]:
        """The records whose gates are waited for: one for each batch."""
        return [where for where, gate in self.gates.items() if not gate.done()]

    def open(self) -> None:
        """Let everything through, from now on."""
        self.opened = True
        for gate in self.gates.values():
            if not gate.done():
                gate.set_result(False)


@dataclass
class Passed:
    """Notes what was passed."""

    ranges: dict[int, list[range]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, partition: int, offsets: range) -> None:
        assert len(offsets)
        if known := self.ranges[partition]:
            assert known[-1].stop == offsets.start, "passed with a gap, or twice"
        known.append(offsets)

    def until(self, partition: int) -> int:
        return self.ranges[partition][-1].stop if self.ranges[partition] else 0


@pytest.fixture
def stage() -> Gated:
    return Gated()


async def happened(what: Callable[[], Any]) -> None:
    async def probe() -> bool:
        return bool(what())

    await eventually(probe)


def never(error: BaseException) -> None:
    raise AssertionError("no lane crashes here") from error


async def fill(lanes: Lanes, records: Iterable[Record]) -> None:
    for each in records:
        await lanes.put(each)


def keyed(key: str, offset: int, *, partition: int = 0, size_bytes: int = 2) -> Record:
    return replace(record("", offset, partition=partition, value=b"x" * size_bytes), key=key.encode())


async def test_a_stage_that_crashes_is_told_and_passes_nothing() -> None:
    class Crashing(Gated):
        async def run(self, records: Sequence[Record], attempt: int = 1) -> Mapping[Record, float]:
            raise ZeroDivisionError

    crashes: list[BaseException] = []
    passed = Passed()
    lanes = Lanes(Crashing(), passed, crashes.append)
    await lanes.put(keyed("t/a", 0))
    await happened(lambda: [type(crash) for crash in crashes] == [ZeroDivisionError])
    assert passed.until(0) == 0
    await lanes.stop()


async def test_keys_keep_their_order_and_do_not_wait_for_each_other(stage: Gated) -> None:
    passed = Passed()
    lanes = Lanes(stage, passed, never)
    await lanes.put(keyed("t/slow", 0))
    await happened(lambda: stage.gates)
    await fill(lanes, (keyed("t/slow" if offset == 5 else f"t/{offset % 3}", offset) for offset in range(1, 20)))

    def others_done() -> bool:
        for where, gate in stage.gates.items():
            if where != (0, 0) and not gate.done():
                gate.set_result(False)
        return {each.offset for each in stage.done} == {*range(1, 20)} - {5}

    await happened(others_done)
    assert passed.until(0) == 0, "what is behind an unfinished record is not passed"
    stage.open()
    await happened(lambda: passed.until(0) == 20)
    for key in ("slow", "0", "1", "2"):
        offsets = [each.offset for each in stage.done if each.key == f"t/{key}".encode()]
        assert offsets == sorted(offsets)
    assert max(map(len, stage.batches)) > 1
    assert not stage.broken
    await lanes.stop()


async def test_tenants_take_turns(stage: Gated) -> None:
    """Whoever has one document is next but one, however many another tenant has."""
    lanes = Lanes(stage, Passed(), never)
    stage.batch_records_max = 1  # type: ignore[misc]
    await fill(lanes, (keyed(f"many/{offset}", offset) for offset in range(HELD_RECORDS_MAX - 2)))
    await fill(lanes, (keyed(f"{tenant}/1", 1_000 + i) for i, tenant in enumerate(("one", "two"))))
    await happened(lambda: len(stage.begun) == CONCURRENCY)
    stage.open()
    await happened(lambda: len(stage.begun) > CONCURRENCY + 4)
    then = [each.ids[0] for each in stage.begun[CONCURRENCY : CONCURRENCY + 4]]
    assert {"one", "two"} <= set(then[:3])
    await lanes.stop()


async def test_the_documents_of_a_tenant_take_turns(stage: Gated) -> None:
    lanes = Lanes(stage, Passed(), never)
    await fill(lanes, (keyed("t/long", offset) for offset in range(100)))
    await lanes.put(keyed("t/short", 100))
    stage.open()
    await happened(lambda: any(each.key == b"t/short" for each in stage.begun))
    assert [each.key for each in stage.begun].index(b"t/short") < 3 * BATCH_RECORDS_MAX
    await lanes.stop()


async def test_heavy_records_leave_a_place_to_light_ones(stage: Gated) -> None:
    lanes = Lanes(stage, Passed(), never)
    heavy_bytes = stage.batch_bytes_max + 1
    await fill(lanes, (keyed(f"t{offset}/heavy", offset, size_bytes=heavy_bytes) for offset in range(10)))
    await happened(lambda: len(stage.begun) == CONCURRENCY - 1)
    await lanes.put(keyed("t/light", 10))
    await happened(lambda: stage.begun[-1].offset == 10)
    stage.open()
    await happened(lambda: len(stage.done) == 11)
    assert max(map(len, stage.batches)) == 1
    await lanes.stop()


async def test_what_fails_apart_comes_again_with_what_is_behind_it_in_its_lane(stage: Gated) -> None:
    passed = Passed()
    lanes = Lanes(stage, passed, never)
    await fill(lanes, (keyed(f"t/place{offset}", offset) for offset in range(CONCURRENCY)))
    keys = ("a", "b", "a", "b")
    await fill(lanes, (keyed(f"t/{key}", offset) for offset, key in enumerate(keys, CONCURRENCY)))
    await happened(lambda: len(stage.batches_running()) == CONCURRENCY)
    stage.gates[0, 0].set_result(False)
    first, second, third, fourth = range(CONCURRENCY, CONCURRENCY + len(keys))
    await happened(lambda: (0, first) in stage.gates)
    stage.gates[0, first].set_result(True)
    for where in ((0, second), (0, fourth)):
        await happened(partial(stage.gates.get, where))
        stage.gates[where].set_result(False)
    await happened(lambda: len(stage.done) == 3)
    stage.open()
    await happened(lambda: passed.until(0) == CONCURRENCY + len(keys))
    assert [each.offset for each in stage.done if each.offset >= first] == [second, fourth, first, third]
    assert [(0, first)] in stage.batches
    await lanes.stop()


async def test_a_batch_is_bounded_in_bytes(stage: Gated) -> None:
    lanes = Lanes(stage, Passed(), never)
    await fill(lanes, (keyed(f"t/{offset}", offset, size_bytes=stage.batch_bytes_max // 2) for offset in range(12)))
    stage.open()
    await happened(lambda: len(stage.done) == 12)
    assert max(map(len, stage.batches)) == 2
    await lanes.stop()


@pytest.mark.parametrize(
    ("size_bytes", "fit"), [(2, HELD_RECORDS_MAX), (HELD_BYTES_MAX // 4, 4), (2 * HELD_BYTES_MAX, 1)]
)
async def test_what_is_held_is_bounded(stage: Gated, size_bytes: int, fit: int) -> None:
    passed = Passed()
    lanes = Lanes(stage, passed, never)
    value = b"x" * size_bytes
    records = [replace(record("t", offset), value=value) for offset in range(fit + 1)]
    await fill(lanes, records[:fit])
    waiting = asyncio.create_task(lanes.put(records[fit]))
    await happened(lambda: stage.gates)
    assert not waiting.done()
    stage.open()
    await asyncio.wait_for(waiting, 10)
    await happened(lambda: passed.until(0) == fit + 1)
    await lanes.stop()


async def test_what_is_done_behind_one_that_is_not_takes_no_memory(stage: Gated) -> None:
    """A record may be retried for an hour, while all the others of its partition are handled."""
    stage.batch_records_max = 1  # type: ignore[misc]
    lanes = Lanes(stage, Passed(), never)
    await lanes.put(keyed("t/stuck", 0))
    await happened(lambda: stage.gates)
    stage.opened = True

    async def many(offsets: range) -> None:
        for offset in offsets:
            await lanes.put(keyed(f"t/{offset}", offset))
        await happened(lambda: stage.done and stage.done[-1].offset == offsets[-1])
        for notes in (stage.begun, stage.done, stage.batches):
            notes.clear()

    await many(range(1, 2_000))
    tracemalloc.start()
    await many(range(2_000, 4_000))
    before = tracemalloc.get_traced_memory()[0]
    await many(range(4_000, 4_000 + MANY))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 40 * MANY, f"{grown / MANY:.0f} bytes for each record"
    await lanes.stop()


async def test_what_is_dropped_is_not_passed(stage: Gated) -> None:
    passed = Passed()
    lanes = Lanes(stage, passed, never)
    for partition in (0, 1):
        await fill(lanes, (keyed(f"t/{offset}", offset, partition=partition) for offset in range(3)))
    await happened(lambda: stage.begun)
    await lanes.drop([0, 7])
    stage.open()
    await happened(lambda: passed.until(1) == 3)
    assert {each.partition for each in stage.done} == {1}
    # The partition may come back, from where it was passed.
    await fill(lanes, (keyed(f"t/{offset}", offset) for offset in range(2)))
    await happened(lambda: passed.until(0) == 2)
    await lanes.stop()


async def test_a_reader_that_waits_for_room_goes_on_when_its_partition_is_dropped(stage: Gated) -> None:
    lanes = Lanes(stage, Passed(), never)
    await fill(lanes, (keyed(f"t/{offset}", offset) for offset in range(HELD_RECORDS_MAX)))
    waiting = asyncio.create_task(lanes.put(keyed("t/late", HELD_RECORDS_MAX)))
    await happened(lambda: stage.gates)
    await lanes.drop([0])
    await asyncio.wait_for(waiting, 10)
    # What it brought belongs to another worker now.
    stage.open()
    await lanes.put(keyed("t/0", 0))
    await happened(lambda: stage.done)
    assert [each.offset for each in stage.done] == [0]
    await lanes.stop()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from("abc"), st.sampled_from("12")),
        st.tuples(st.just("finish"), st.integers(0, 20)),
        st.tuples(st.just("fail"), st.integers(0, 20)),
        st.tuples(st.just("fail apart"), st.integers(0, 20)),
        st.tuples(st.just("fail alone"), st.integers(0, 20)),
        st.tuples(st.just("refuse alone"), st.integers(0, 20)),
        st.tuples(st.just("refuse"), st.integers(0, 20)),
        st.tuples(st.just("drop"), st.integers(0, 1)),
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=100, deadline=None)
def test_whatever_happens_the_rules_hold(steps: list[tuple[Any, ...]]) -> None:
    """Order in each lane, one batch of it at a time, nothing lost, nothing passed before it was done."""
    asyncio.run(play(steps))


async def play(steps: list[tuple[Any, ...]]) -> None:
    stage = Gated()
    committed: dict[int, int] = {0: 0, 1: 0}
    log: dict[int, list[Record]] = {0: [], 1: []}

    def finished() -> set[Place]:
        return {*map(place, stage.done), *stage.given_up}

    def passed(partition: int, offsets: range) -> None:
        assert offsets.start == committed[partition]
        assert all((partition, offset) in finished() for offset in offsets)
        committed[partition] = offsets.stop

    lanes = Lanes(stage, passed, never)
    for what, *about in steps:
        match what, about:
            case "put", [partition, tenant, document]:
                each = keyed(f"{tenant}/{document}", len(log[partition]), partition=partition)
                log[partition].append(each)
                await lanes.put(each)
            case "drop", [partition]:
                await lanes.drop([partition])
                stage.done = [each for each in stage.done if each.partition != partition]
                # Whoever owns it next reads on from where it was committed: here ourselves.
                await fill(lanes, log[partition][committed[partition] :])
            case _, [index] if running := stage.batches_running():
                gate = stage.gates[running[index % len(running)]]
                match what:
                    case "finish":
                        gate.set_result(False)
                    case "fail apart":
                        gate.set_result(True)
                    case "fail alone":
                        gate.set_result(EmbedderUnavailable())
                    case "refuse alone":
                        gate.set_result(ValueError())
                    case "fail":
                        gate.set_exception(EmbedderUnavailable())
                    case "refuse":
                        gate.set_exception(ValueError())
        for _ in range(3):
            await asyncio.sleep(0)
    stage.open()
    await happened(lambda: committed == {partition: len(records) for partition, records in log.items()})
    for partition, records in log.items():
        for key in {each.key for each in records}:
            of_lane = [each.offset for each in stage.done if (each.partition, each.key) == (partition, key)]
            assert of_lane == sorted(set(of_lane))
    assert not stage.broken
    await lanes.stop()
