"""Lanes: records of one key are handled in order, those of different keys side by side, tenants in turn."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from streams.backoff import Breaker
from streams.fair import Turns, heavy_max
from streams.metrics import HANDLED, HANDLING_S, HELD, HELD_BYTES
from streams.record import Record
from streams.stage import Stage

log = structlog.get_logger()

HELD_RECORDS_MAX = 1_000
"""Records that a stage has in memory: enough to choose fairly from, and for a retried one not to hold up the rest."""
HELD_BYTES_MAX = 33_554_432
"""Their values: the batches of a document of a thousand pages, or eight of the largest events that Kafka takes."""

OnPassed = Callable[[int, range], None]


@dataclass(slots=True, eq=False)
class _Held:
    record: Record
    lane: "_Lane"
    weight: int
    heavy: bool
    attempt: int = 1
    alone: bool = False
    """A batch with it has failed; by itself it fails or succeeds for itself."""

    @property
    def size_bytes(self) -> int:
        return len(self.record.value or b"")


@dataclass(slots=True, eq=False)
class _Lane:
    partition: "_Partition"
    name: bytes
    tenant: str
    waiting: deque[_Held] = field(default_factory=deque)
    free: bool = True
    """Neither at work nor pausing before another try."""
    pause: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class _Partition:
    """``passed``: all before this offset is done; ``next_offset``: that after the newest record."""

    number: int
    passed: int
    next_offset: int
    lanes: dict[bytes, _Lane] = field(default_factory=dict)
    unfinished: dict[int, _Held] = field(default_factory=dict)
    """By offset, oldest first. What is done leaves no trace, however much of it lies behind one that is retried."""


class Lanes:
    """Runs a stage over the partitions of one worker, in bounded memory.

    ``on_passed`` is told a partition and the offsets that were done with since it was last told, without a gap.
    ``on_crash`` is told of an error that the stage did not deal with: its records stay where they are from then on.
    """

    def __init__(self, stage: Stage, on_passed: OnPassed, on_crash: Callable[[BaseException], None]) -> None:
        self._stage = stage
        self._on_passed = on_passed
        self._on_crash = on_crash
        self._partitions: dict[int, _Partition] = {}
        self._turns = Turns[_Lane]()
        self._running: dict[asyncio.Task[None], list[_Held]] = {}
        self._breaker = Breaker()
        self._probe: asyncio.TimerHandle | None = None
        self._held = self._held_bytes = 0
        self._room = asyncio.Event()
        self._held_gauges = HELD.labels(stage.name), HELD_BYTES.labels(stage.name)

    async def put(self, record: Record) -> None:
        """Take a record on; waits while too many are held. Each partition's come in the order of their offsets."""
        offset = record.offset
        partition = self._partitions.setdefault(record.partition, _Partition(record.partition, offset, offset))
        await self._stage.look_ahead(record)
        size_bytes = len(record.value or b"")
        while self._held and (self._held == HELD_RECORDS_MAX or self._held_bytes + size_bytes > HELD_BYTES_MAX):
            self._room.clear()
            await self._room.wait()
        if self._partitions.get(record.partition) is not partition or offset < partition.next_offset:
            return  # it belongs to another worker now, or is here already
        name = self._stage.lane_of(record)
        lane = partition.lanes.setdefault(name, _Lane(partition, name, record.ids[0]))
        weight = self._stage.weight(record)
        held = _Held(record, lane, weight, self._stage.is_heavy(weight))
        partition.unfinished[offset] = held
        partition.next_offset = offset + 1
        self._count(1, size_bytes)
        lane.waiting.append(held)
        if lane.free and len(lane.waiting) == 1:
            self._line_up(lane)
        self._begin()

    async def drop(self, partitions: Sequence[int]) -> None:
        """Stop working on partitions that now belong to another worker; what was not finished is finished there."""
        dropped = [self._partitions.pop(number) for number in partitions if number in self._partitions]
        for partition in dropped:
            for lane in partition.lanes.values():
                self._turns.remove(lane.tenant, lane)
                if lane.pause:
                    lane.pause.cancel()
            for held in partition.unfinished.values():
                self._count(-1, -held.size_bytes)
        cut = [task for task, batch in self._running.items() if any(held.lane.partition in dropped for held in batch)]
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    async def stop(self) -> None:
        """Stop working on all partitions."""
        await self.drop(list(self._partitions))

    def _begin(self) -> None:
        """Begin as many batches as there are places."""
        while len(self._running) < (1 if self._breaker.is_open else self._stage.concurrency):
            if (wait_s := self._breaker.wait_s()) > 0:
                if self._probe:
                    self._probe.cancel()
                self._probe = asyncio.get_running_loop().call_later(wait_s, self._begin)
                return
            if not (batch := self._next_batch()):
                return
            task = asyncio.create_task(self._work(batch), name=f"{self._stage.name}-{batch[0].record.partition}")
            self._running[task] = batch
            task.add_done_callback(self._look_at_end)

    def _next_batch(self) -> list[_Held]:
        """A few records by turns, of one lane in order; a heavy one, or one that failed in a batch, goes alone."""
        heavy_running = sum(batch[0].heavy for batch in self._running.values())
        may_be_heavy = heavy_running < heavy_max(self._stage.concurrency)
        batch: list[_Held] = []
        weight = 0
        while len(batch) < self._stage.batch_records_max and (lane := self._turns.first(heavy=may_be_heavy)):
            held = lane.waiting[0]
            weight += held.weight
            if batch and (held.alone or held.heavy or weight > self._stage.batch_bytes_max):
                break
            self._turns.remove(lane.tenant, lane)
            batch.append(lane.waiting.popleft())
            if lane.waiting:
                self._line_up(lane)
            if held.alone or held.heavy:
                break
        for lane in {held.lane for held in batch}:
            self._turns.remove(lane.tenant, lane)
            lane.free = False
        return batch

    async def _work(self, batch: list[_Held]) -> None:
        with HANDLING_S.labels(self._stage.name).time():
            pauses_s = await self._stage.run([held.record for held in batch], batch[0].attempt)
        done = [held for held in batch if held.record not in pauses_s]
        if done:
            self._breaker.succeeded()
        again: dict[_Lane, list[_Held]] = {}
        for held in batch:
            if held.record in pauses_s:
                again.setdefault(held.lane, []).append(held)
        for lane, (first, *behind) in again.items():
            if pause_s := pauses_s[first.record]:
                first.attempt += 1
                self._breaker.failed(lane)
            self._put_back([held for held in (first, *behind) if self._is_ours(held)], pause_s)
        self._finish([held for held in done if self._is_ours(held)])

    def _finish(self, batch: Sequence[_Held]) -> None:
        HANDLED.labels(self._stage.name).inc(len(batch))
        for held in batch:
            del held.lane.partition.unfinished[held.record.offset]
            self._count(-1, -held.size_bytes)
        for lane in {held.lane for held in batch if held.lane.pause is None}:
            self._free(lane)
        for partition in {held.lane.partition for held in batch}:
            oldest = next(iter(partition.unfinished), partition.next_offset)
            if oldest > partition.passed:
                self._on_passed(partition.number, range(partition.passed, oldest))
                partition.passed = oldest

    def _put_back(self, batch: Sequence[_Held], pause_s: float) -> None:
        for held in reversed(batch):
            held.alone = True
            held.lane.waiting.appendleft(held)
        for lane in {held.lane for held in batch}:
            lane.pause = asyncio.get_running_loop().call_later(pause_s, self._resume, lane)

    def _resume(self, lane: _Lane) -> None:
        lane.pause = None
        self._free(lane)
        self._begin()

    def _free(self, lane: _Lane) -> None:
        lane.free = True
        if lane.waiting:
            self._line_up(lane)
        else:
            del lane.partition.lanes[lane.name]

    def _line_up(self, lane: _Lane) -> None:
        self._turns.add(lane.tenant, lane, heavy=lane.waiting[0].heavy)

    def _is_ours(self, held: _Held) -> bool:
        return self._partitions.get(held.record.partition) is held.lane.partition

    def _count(self, records: int, size_bytes: int) -> None:
        self._held += records
        self._held_bytes += size_bytes
        for gauge, change in zip(self._held_gauges, (records, size_bytes), strict=True):
            gauge.inc(change)
        if records < 0:
            self._room.set()

    def _look_at_end(self, task: asyncio.Task[None]) -> None:
        batch = self._running.pop(task)
        if task.cancelled():
            # It was cut for the sake of another partition's records.
            self._put_back([held for held in batch if self._is_ours(held)], 0.0)
        elif error := task.exception():
            log.error("lane crashed", lane=task.get_name(), exc_info=error)
            self._on_crash(error)
        self._begin()
