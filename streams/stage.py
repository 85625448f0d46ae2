"""The one order of effects: read, handle (which includes every effect), then acknowledge.

Faust acknowledges an event also when its handler raised or was cancelled, which would lose it. So a stage takes the
acknowledging over: a record is acknowledged only after `Stage.handle` returned, or after it was dead-lettered. A record
whose handling was cut short comes again, and handlers make their effects idempotent by positions and revisions.

Each partition has its lane: records of one partition are handled in order, those of different ones side by side.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from db.errors import OUTAGES as DATABASE_OUTAGES
from schemas.errors import InvalidEvent, MillraceError
from schemas.events import Failure
from schemas.topics import GROUP_OF_STAGE, Topic
from schemas.trace import trace_id
from streams.metrics import DEAD_LETTERED, HANDLED, HANDLING_S, RETRIED
from streams.outbox import Outbox, failure_of
from streams.record import Record

log = structlog.get_logger()

LANE_RECORDS_MAX = 16
"""Records that wait in a lane: enough to batch, few enough that big events do not fill the memory."""
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 15.0

OUTAGES = (OSError, KafkaError, *DATABASE_OUTAGES, asyncpg.TransactionRollbackError)
"""Kafka or Postgres is away: nothing else could be done meanwhile, so a stage waits as long as it takes."""
ABOUT_THE_RECORD = (MessageSizeTooLargeError, asyncpg.QueryCanceledError)
"""Outages by their class, but this record's own: it is too large for Kafka, or its statement takes too long."""


class Stage:
    """One step of the flow: a topic it reads, and what it does with a few records of one partition."""

    name: ClassVar[str]
    topic: ClassVar[Topic]
    batch_records_max: ClassVar[int] = 1

    def __init__(self, outbox: Outbox, attempts_max: int) -> None:
        self.outbox = outbox
        self._attempts_max = attempts_max

    @property
    def group(self) -> str:
        """The stage's consumer group."""
        return GROUP_OF_STAGE[self.name][0]

    async def handle(self, records: Sequence[Record]) -> None:
        """Do everything that follows from the records, so that doing it again changes nothing."""
        raise TypeError(f"{type(self).__name__} handles nothing")

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Tell everybody that nothing more will come of a valid record, which lies in the dead letter now."""

    async def run(self, records: Sequence[Record]) -> None:
        """Handle records until they are done or dead-lettered; raises only where Kafka refuses the dead letter."""
        attempt = 1
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                await self._outlast(lambda: self.handle(records))
            except Exception as error:
                if len(records) > 1:
                    for record in records:
                        await self.run([record])
                    return
                transient = isinstance(error, asyncpg.QueryCanceledError) or getattr(error, "transient", False)
                if not (transient and attempt < self._attempts_max):
                    await self._dead_letter(records[0], error, attempt)
                    return
                attempt += 1
                RETRIED.labels(self.name).inc()
                log.warning("retrying", stage=self.name, error=str(error), attempt=attempt)
            else:
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _outlast(self, effect: Callable[[], Awaitable[None]]) -> None:
        """Do something again and again while Kafka or Postgres is away; raises what is wrong beside that."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                return await effect()
            except ABOUT_THE_RECORD:
                raise
            except OUTAGES as error:
                RETRIED.labels(self.name).inc()
                log.warning("waiting for kafka or postgres", stage=self.name, error=repr(error))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _dead_letter(self, record: Record, error: Exception, attempt: int) -> None:
        failure = failure_of(error, self.name, attempt)
        unexpected = not isinstance(error, MillraceError)
        log.error(
            "dead letter",
            stage=self.name,
            trace_id=trace_id(record.traceparent),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error_type=failure.type,
            error=str(error),
            exc_info=error if unexpected else None,
        )
        DEAD_LETTERED.labels(self.name, failure.type).inc()
        await self._outlast(lambda: self.outbox.dead_letter(record, failure))
        if isinstance(error, InvalidEvent):
            return
        try:
            await self._outlast(lambda: self.give_up(record, failure))
        except Exception:
            # The record is kept, and what lies in this partition behind it is not to blame.
            log.exception("giving up failed", stage=self.name, partition=record.partition, offset=record.offset)


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
