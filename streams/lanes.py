"""Lanes: records of one partition are handled in order, those of different ones side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from streams.metrics import HANDLED, HANDLING_S
from streams.record import Record
from streams.stage import Stage

log = structlog.get_logger()

LANE_RECORDS_MAX = 16
"""Records that wait in a lane: enough to batch, few enough that big events do not fill the memory."""

Ack = Callable[[], Awaitable[object]]


class Lanes:
    """Runs a stage over the partitions of one worker: a bounded queue and a task for each.

    ``on_crash`` is told of an error that ended a lane: nothing in its partition moves from then on.
    """

    def __init__(self, stage: Stage, on_crash: Callable[[BaseException], None]) -> None:
        self._stage = stage
        self._on_crash = on_crash
        self._queues: dict[int, asyncio.Queue[tuple[Record, Ack]]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def put(self, record: Record, ack: Ack) -> None:
        """Queue a record; waits while its lane is full. ``ack`` is called once it is done with."""
        await self._stage.foresee(record)
        partition = record.partition
        if partition not in self._tasks:
            self._queues[partition] = asyncio.Queue(LANE_RECORDS_MAX)
            task = asyncio.create_task(self._run(self._queues[partition]), name=f"{self._stage.name}-{partition}")
            task.add_done_callback(self._look_at_end)
            self._tasks[partition] = task
        await self._queues[partition].put((record, ack))

    async def drop(self, partitions: Sequence[int]) -> None:
        """Stop working on partitions that now belong to another worker; what was not finished is finished there."""
        tasks = [self._tasks.pop(partition) for partition in partitions if partition in self._tasks]
        queues = [self._queues.pop(partition) for partition in partitions if partition in self._queues]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for queue in queues:
            # Or a `put` that waits for room would wait for ever, and with it all the other partitions.
            while not queue.empty():
                queue.get_nowait()

    async def stop(self) -> None:
        """Stop all lanes."""
        await self.drop(list(self._tasks))

    def _look_at_end(self, lane: asyncio.Task[None]) -> None:
        if not lane.cancelled() and (error := lane.exception()):
            log.error("lane crashed", lane=lane.get_name(), exc_info=error)
            self._on_crash(error)

    async def _run(self, queue: asyncio.Queue[tuple[Record, Ack]]) -> None:
        while True:
            batch = [await queue.get()]
            while len(batch) < self._stage.batch_records_max and not queue.empty():
                batch.append(queue.get_nowait())
            with HANDLING_S.labels(self._stage.name).time():
                await self._stage.run([record for record, _ in batch])
            HANDLED.labels(self._stage.name).inc(len(batch))
            for _, ack in batch:
                await ack()
