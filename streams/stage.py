"""The one order of effects: read, handle (which includes every effect), then acknowledge.

Faust acknowledges an event also when its handler raised or was cancelled, which would lose it. So a stage takes the
acknowledging over: a record is acknowledged only after `Stage.handle` returned, or after it was given up. A record
whose handling was cut short comes again, and handlers make their effects idempotent by positions and revisions.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import ClassVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from db.errors import OUTAGES as DATABASE_OUTAGES
from schemas.errors import MillraceError
from schemas.events import Failure
from schemas.topics import Topic, group_of, of_generation
from streams.backoff import pause_s
from streams.metrics import DEAD_LETTERED, RETRIED
from streams.outbox import Outbox, failure_of
from streams.record import Record

log = structlog.get_logger()

OUTAGES = (OSError, KafkaError, *DATABASE_OUTAGES, asyncpg.TransactionRollbackError)
"""Kafka or Postgres is away: nothing else could be done meanwhile, so a stage waits as long as it takes."""
ABOUT_THE_RECORD = (MessageSizeTooLargeError, asyncpg.QueryCanceledError)
"""Outages by their class, but this record's own: it is too large for Kafka, or its statement takes too long."""
RETRY_AFTER_S_MAX = 3_600.0
"""Who asks for more patience than this is asked again after an hour: a date far away may be a mistake."""


def is_outage(error: BaseException) -> bool:
    """Whether an error is nobody's in particular."""
    return isinstance(error, OUTAGES) and not isinstance(error, ABOUT_THE_RECORD)


class SomeFailed(Exception):
    """Of records that were handled together, some are not done with: each with its own error, or None."""

    def __init__(self, errors: Mapping[Record, Exception | None]) -> None:
        super().__init__()
        self.errors = errors


class Stage(ABC):
    """One step of the flow: a topic it reads, and what it does with a few records."""

    name: ClassVar[str]
    topic: ClassVar[Topic]
    concurrency: ClassVar[int] = 3
    """Batches that are handled at a time; each that has a transaction takes one of the process's 8 connections."""
    batch_records_max: ClassVar[int] = 1
    batch_bytes_max: ClassVar[int] = 49_152
    """Small records share a batch. A full event of 64 chunks is larger: it is work enough, and would hold them up."""

    def __init__(self, outbox: Outbox, attempts_max: int) -> None:
        self.outbox = outbox
        self._attempts_max = attempts_max

    @property
    def source(self) -> Topic:
        """The stage's topic, as its generation of the index has it."""
        return of_generation(self.topic, self.outbox.generation)

    @property
    def group(self) -> str:
        """The stage's consumer group."""
        return group_of(self.name, self.outbox.generation)

    def lane_of(self, record: Record) -> bytes:
        """What a record has to keep its order with: those of the same lane and partition are handled one after another.

        By default its key; those without one share a lane.
        """
        return record.key or b""

    def weight(self, record: Record) -> int:
        """How much a record asks for, in bytes of what has to be read."""
        return len(record.value or b"")

    def is_heavy(self, weight: int) -> bool:
        """Whether a record of such a weight takes long: it goes alone, and never with such ones in all places."""
        return weight > self.batch_bytes_max

    @abstractmethod
    async def handle(self, records: Sequence[Record]) -> None:
        """Do everything that follows from the records, so that doing it again changes nothing.

        Where it raises, nothing is taken for done, unless it raises `SomeFailed`.
        """

    @abstractmethod
    async def give_up(self, record: Record, failure: Failure) -> None:
        """Keep a record, valid or not, in the dead letter, and tell everybody that nothing more will come of it."""

    async def foresee(self, record: Record) -> None:  # noqa: B027 - few stages have a use for it
        """Look at a record when it comes in, before those that wait in front of it are handled."""

    async def note_retry(self, record: Record, failure: Failure, attempt: int) -> None:  # noqa: B027 - nothing to tell
        """Tell whoever waits that a try failed and another one will follow; ``attempt`` counts from 1."""

    async def look_ahead(self, record: Record) -> None:
        """Have a record foreseen. It will be handled all the same, so this fails in silence but for the log."""
        try:
            await self._outlast(lambda: self.foresee(record))
        except Exception:
            log.exception("not foreseen", stage=self.name, **record.about())

    async def run(self, records: Sequence[Record], attempt: int = 1) -> Mapping[Record, float]:
        """Try once; an outage of Kafka or Postgres is waited for, and is not counted.

        Returns which records are not done with, each with the seconds after which it is to be tried again by itself:
        0 where it did not fail for itself. Those that were given up are done with. ``attempt`` counts a single
        record's tries from 1.
        """
        failed: Mapping[Record, Exception | None] = {}
        try:
            await self._outlast(lambda: self.handle(records), ABOUT_THE_RECORD)
        except SomeFailed as some:
            failed = some.errors
        except Exception as error:
            failed = dict.fromkeys(records, error if len(records) == 1 else None)
        pauses_s: dict[Record, float] = {}
        for record, its_own in failed.items():
            pause_s = await self._after(its_own, record, attempt) if its_own else 0.0
            if pause_s is not None:
                pauses_s[record] = pause_s
        return pauses_s

    async def _after(self, error: Exception, record: Record, attempt: int) -> float | None:
        """Give a record up, or say after how many seconds to try it again."""
        failure = failure_of(error, self.name, attempt)
        transient = isinstance(error, asyncpg.QueryCanceledError) or getattr(error, "transient", False)
        if transient and attempt < self._attempts_max:
            RETRIED.labels(self.name).inc()
            log.warning("retrying", stage=self.name, error=str(error), attempt=attempt, **record.about())
            try:
                await self.note_retry(record, failure, attempt)
            except Exception as unnoted:
                log.warning("retry not noted", stage=self.name, error=repr(unnoted), **record.about())
            told_s = getattr(error, "retry_after_s", None) or 0.0
            return max(pause_s(attempt), min(told_s, RETRY_AFTER_S_MAX))
        log.error(
            "dead letter",
            stage=self.name,
            error_type=failure.type,
            error=str(error),
            exc_info=None if isinstance(error, MillraceError) else error,
            **record.about(),
        )
        try:
            await self._outlast(lambda: self.give_up(record, failure))
        except Exception:
            # Nobody has kept the record, so it stays here; what lies behind it is not to blame and goes on.
            log.exception("giving up failed", stage=self.name, **record.about())
            return pause_s(attempt)
        DEAD_LETTERED.labels(self.name, failure.type).inc()
        return None

    async def _outlast(
        self, effect: Callable[[], Awaitable[None]], raised: tuple[type[Exception], ...] = (MessageSizeTooLargeError,)
    ) -> None:
        """Do something again and again while Kafka or Postgres is away; raises what is wrong beside that.

        ``raised``: what counts as an outage by its class, but is raised nevertheless.
        """
        for failures in count(1):
            try:
                return await effect()
            except raised:
                raise
            except OUTAGES as error:
                RETRIED.labels(self.name).inc()
                log.warning("waiting for kafka or postgres", stage=self.name, error=repr(error))
            await asyncio.sleep(pause_s(failures))
        return None
