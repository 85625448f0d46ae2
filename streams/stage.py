"""The one order of effects: read, handle (which includes every effect), then acknowledge.

Faust acknowledges an event also when its handler raised or was cancelled, which would lose it. So a stage takes the
acknowledging over: a record is acknowledged only after `Stage.handle` returned, or after it was dead-lettered. A record
whose handling was cut short comes again, and handlers make their effects idempotent by positions and revisions.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from db.errors import OUTAGES as DATABASE_OUTAGES
from schemas.errors import MillraceError
from schemas.events import Failure
from schemas.topics import Topic, group_of, of_generation
from streams.metrics import DEAD_LETTERED, RETRIED
from streams.outbox import Outbox, failure_of
from streams.record import Record

log = structlog.get_logger()

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 15.0

OUTAGES = (OSError, KafkaError, *DATABASE_OUTAGES, asyncpg.TransactionRollbackError)
"""Kafka or Postgres is away: nothing else could be done meanwhile, so a stage waits as long as it takes."""
ABOUT_THE_RECORD = (MessageSizeTooLargeError, asyncpg.QueryCanceledError)
"""Outages by their class, but this record's own: it is too large for Kafka, or its statement takes too long."""


class Stage(ABC):
    """One step of the flow: a topic it reads, and what it does with a few records of one partition."""

    name: ClassVar[str]
    topic: Topic
    batch_records_max: ClassVar[int] = 1

    def __init__(self, outbox: Outbox, attempts_max: int) -> None:
        self.outbox = outbox
        self.topic = of_generation(self.topic, outbox.generation)
        self._attempts_max = attempts_max

    @property
    def group(self) -> str:
        """The stage's consumer group."""
        return group_of(self.name, self.outbox.generation)

    @abstractmethod
    async def handle(self, records: Sequence[Record]) -> None:
        """Do everything that follows from the records, so that doing it again changes nothing."""

    @abstractmethod
    async def give_up(self, record: Record, failure: Failure) -> None:
        """Tell everybody that nothing more will come of a record, valid or not: it lies in the dead letter now."""

    async def foresee(self, record: Record) -> None:  # noqa: B027 - few stages have a use for it
        """Look at a record when it comes in, before those that wait in front of it are handled."""

    async def note_retry(self, record: Record, failure: Failure, attempt: int) -> None:  # noqa: B027
        """Be told before a record is tried once more."""

    async def run(self, records: Sequence[Record]) -> None:
        """Handle records until they are done or dead-lettered; raises only where Kafka refuses the dead letter."""
        attempt = 1
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                await self._outlast(lambda: self.handle(records), ABOUT_THE_RECORD)
            except Exception as error:
                if len(records) > 1:
                    for record in records:
                        await self.run([record])
                    return
                [record] = records
                transient = isinstance(error, asyncpg.QueryCanceledError) or getattr(error, "transient", False)
                if not (transient and attempt < self._attempts_max):
                    await self._dead_letter(record, error, attempt)
                    return
                attempt += 1
                RETRIED.labels(self.name).inc()
                log.warning("retrying", stage=self.name, error=str(error), attempt=attempt, **record.about())
            else:
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _outlast(
        self, effect: Callable[[], Awaitable[None]], raised: tuple[type[Exception], ...] = (MessageSizeTooLargeError,)
    ) -> None:
        """Do something again and again while Kafka or Postgres is away; raises what is wrong beside that.

        ``raised``: what counts as an outage by its class, but is raised nevertheless.
        """
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                return await effect()
            except raised:
                raise
            except OUTAGES as error:
                RETRIED.labels(self.name).inc()
                log.warning("waiting for kafka or postgres", stage=self.name, error=repr(error))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _dead_letter(self, record: Record, error: Exception, attempt: int) -> None:
        failure = failure_of(error, self.name, attempt)
        log.error(
            "dead letter",
            stage=self.name,
            error_type=failure.type,
            error=str(error),
            exc_info=None if isinstance(error, MillraceError) else error,
            **record.about(),
        )
        DEAD_LETTERED.labels(self.name, failure.type).inc()
        try:
            await self._outlast(lambda: self.give_up(record, failure))
        except Exception:
            # The record is kept, and what lies in this partition behind it is not to blame.
            log.exception("giving up failed", stage=self.name, **record.about())
