"""What the stages write to Kafka: events, statuses and dead letters, each acknowledged before its cause is."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Self

import asyncpg
import structlog
from pydantic import TypeAdapter, ValidationError

from db import dead_letters, processing
from db.blobs import Blobs
from db.generations import Standing
from db.pool import Pool
from schemas.errors import MillraceError
from schemas.events import (
    DocumentChunked,
    DocumentFailed,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    Failure,
    Origin,
    State,
    TenantId,
)
from schemas.position import offset_of
from schemas.producer import Producer
from schemas.topics import (
    DEAD_LETTER,
    FIRST_GENERATION,
    MESSAGE_BYTES_MAX,
    STATUS,
    SUBMITTED,
    Topic,
    of_generation,
)
from schemas.trace import trace_id
from schemas.wire import encode
from streams.record import Record

log = structlog.get_logger()

LETTERS_AT_ONCE = 100


class Outbox:
    """What the stages of a generation send by. Every method returns once the broker has acknowledged what was sent.

    Only of the live generation others hear, by statuses and letters.
    """

    def __init__(self, producer: Producer, pool: Pool, blobs: Blobs, generation: int = FIRST_GENERATION) -> None:
        self._producer = producer
        self._pool = pool
        self._blobs = blobs
        self.generation = generation
        self.standing = Standing(pool, generation)

    def of(self, pool: Pool, generation: int) -> Self:
        """The outbox of another generation, which ``pool`` leads to."""
        return type(self)(self._producer, pool, self._blobs, generation)

    async def emit(self, topic: Topic, cause: Record, events: Iterable[tuple[Event, bytes | None]]) -> None:
        """Send events in order, each with the raw bytes behind its body if it has any.

        They keep the partition of what caused them, so that a document's order holds from stage to stage.
        """
        await self.emit_all(topic, ((cause, event, binary) for event, binary in events))

    async def emit_all(self, topic: Topic, caused: Iterable[tuple[Record, Event, bytes | None]]) -> None:
        """The same for what several records caused."""
        records = (
            (cause.partition, encode(event, binary=binary, traceparent=cause.traceparent))
            for cause, event, binary in caused
        )
        await self._producer.send_each(of_generation(topic, self.generation), records)

    async def tell(self, statuses: Sequence[tuple[Record, DocumentStatus]]) -> None:
        """Tell the consumers of the status topic, and the log, what records have caused."""
        if not statuses or not await self.standing.speaks():
            return
        for cause, status in statuses:
            log.info(
                status.state.value,
                tenant_id=status.tenant_id,
                document_id=status.document_id,
                revision=status.revision,
                trace_id=trace_id(cause.traceparent),
                chunks_done=status.chunks_done,
            )
        await self.emit_all(STATUS, [(cause, status, None) for cause, status in statuses])

    async def report(self, statuses: Sequence[tuple[Record, DocumentStatus]]) -> list[bool]:
        """Store statuses of different revisions, and tell what is new: true for each that is."""
        moved = await processing.report(self._pool, [status for _, status in statuses])
        await self.tell([each for each, has_moved in zip(statuses, moved, strict=True) if has_moved])
        return moved

    async def resend(self, record: Record, partition: int) -> None:
        """Put a record as it is onto another partition of the first topic."""
        await self._producer.send(SUBMITTED, [(record.key, record.value, record.headers)], partition)

    async def note_attempt(self, record: Record, revision: int, attempt: int) -> None:
        """Store how often a document was tried so far."""
        await processing.note_attempt(self._pool, *record.ids, revision, attempt)

    async def keep(self, record: Record, failure: Failure) -> None:
        """Keep a record that no document's outcome speaks for, as it came: no event at all, a deletion, or a question.

        One that came compressed may be too large to be sent on as it is; then its bytes go to the object store.
        """
        value, value_key = record.value, None
        if len(value or b"") > MESSAGE_BYTES_MAX:
            value, value_key = None, f"dead-letters/{record.topic}/{record.partition}-{record.position}"
            await self._blobs.put(value_key, record.value or b"")
        failed = failed_event(record, failure, record.origin if record.topic == SUBMITTED.name else None)
        letter = dead_letters.Letter(
            tenant_id=_tenant_of(record),
            topic=record.topic,
            partition=record.partition,
            position=record.position,
            key=record.key,
            value=value,
            value_key=value_key,
            headers=record.headers,
            written_at=record.at,
            failure=failure,
            document_id=failed.document_id if failed else None,
            revision=failed.revision if failed else None,
        )
        await dead_letters.add(self._pool, letter)
        await self.publish_letters()

    async def publish_letters(self) -> int:
        """Put the letters that are not there yet onto the dead-letter topic, and say how many those were.

        A process that ends in between sends one again: its ``error_letter`` is the same.
        """
        if not await self.standing.speaks():
            return 0
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await dead_letters.unpublished(connection, LETTERS_AT_ONCE)
            for row in rows:
                headers = [*dead_letters.headers_of(row), *_reason(row)]
                await self._producer.send(
                    DEAD_LETTER, [(row["key"], row["value"], headers)], row["partition"] % DEAD_LETTER.partitions
                )
                await dead_letters.published(connection, row["tenant_id"], row["letter_id"])
        return len(rows)


def status_of_batch(batch: DocumentChunked, state: State, chunks_done: int) -> DocumentStatus:
    """What a batch of a revision's chunks brings about."""
    return DocumentStatus(
        tenant_id=batch.tenant_id,
        document_id=batch.document_id,
        origin=batch.origin,
        state=state,
        chunks_total=batch.chunk_total,
        chunks_done=chunks_done,
        filename=batch.document.filename,
        title=batch.document.title,
        media_type=batch.document.media_type,
    )


def letter_of_submission(
    submission: DocumentSubmitted, origin: Origin, received_at: datetime, failure: Failure
) -> dead_letters.Letter:
    """The letter of a document that a stage gave up: what would submit it once more."""
    key, value, headers = encode(submission)
    return dead_letters.Letter(
        tenant_id=submission.tenant_id,
        topic=SUBMITTED.name,
        partition=origin.partition,
        position=origin.position,
        key=key,
        value=value,
        headers=headers,
        written_at=received_at,
        failure=failure,
        document_id=submission.document_id,
        revision=origin.position,
    )


def _reason(row: asyncpg.Record) -> list[tuple[str, bytes]]:
    """The headers that say why a letter was written."""
    reason = {
        "error_letter": row["letter_id"],
        "error_type": row["error_type"],
        "error_message": row["error_message"],
        "error_stage": row["stage"],
        "error_attempt": row["attempt"],
        "error_topic": row["topic"],
        "error_partition": row["partition"],
        "error_offset": offset_of(row["position"]),
        "error_timestamp": round(row["written_at"].timestamp() * 1_000),
    }
    if row["value_key"]:
        reason["error_value_key"] = row["value_key"]
    return [(name, str(value).encode()) for name, value in reason.items()]


def _tenant_of(record: Record) -> str:
    try:
        return TypeAdapter(TenantId).validate_python(record.ids[0])
    except ValidationError:
        return dead_letters.NOBODY


def failure_of(error: Exception, stage: str, attempt: int) -> Failure:
    """What may be told of an error: ours in full; of others, which only the log shows, that they happened."""
    if isinstance(error, MillraceError):
        return Failure(type=error.type, message=str(error), stage=stage, attempt=attempt)
    return Failure(
        type=MillraceError.type,
        message=f"The {stage} stage failed unexpectedly; its log says more.",
        stage=stage,
        attempt=attempt,
    )


def failed_event(record: Record, failure: Failure, origin: Origin | None = None) -> DocumentFailed | None:
    """The failure of the document that a record is about, also where the record is no valid event.

    The key names the document; ``origin`` is that of the record's body if not given. None where they say neither.
    """
    tenant_id, document_id = record.ids
    try:
        return DocumentFailed.model_validate(
            {
                "tenant_id": tenant_id,
                "document_id": document_id,
                "origin": origin or _origin_in(record.value or b""),
                "error": failure,
            }
        )
    except (ValueError, TypeError, KeyError):
        return None


def _origin_in(value: bytes) -> Any:
    # Vectors may follow the JSON, so it is read up to its end and no further.
    body, _ = json.JSONDecoder().raw_decode(value.decode(errors="replace"))
    return body["origin"]
