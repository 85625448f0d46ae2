"""What the stages write to Kafka: events, statuses and dead letters, each acknowledged before its cause is."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from db import processing
from db.blobs import Blobs
from db.pool import Pool
from schemas.errors import MillraceError
from schemas.events import DocumentFailed, DocumentStatus, Event, Failure, Origin
from schemas.topics import DEAD_LETTER, MESSAGE_BYTES_MAX, STATUS, Topic
from schemas.trace import trace_id
from schemas.wire import encode
from streams.record import Record

log = structlog.get_logger()


class Outbox:
    """The producer of a worker. Every method returns once the broker has acknowledged what was sent."""

    def __init__(self, producer: AIOKafkaProducer, pool: Pool, blobs: Blobs) -> None:
        self._producer = producer
        self._pool = pool
        self._blobs = blobs

    async def emit(self, topic: Topic, cause: Record, events: Iterable[tuple[Event, bytes | None]]) -> None:
        """Send events in order, each with the raw bytes behind its body if it has any.

        They keep the partition of what caused them, so that a document's order holds from stage to stage.
        """
        sent = []
        for event, binary in events:
            key, value, headers = encode(event, binary=binary, traceparent=cause.traceparent)
            sent.append(
                await self._producer.send(topic.name, value, key=key, headers=headers, partition=cause.partition)
            )
        await asyncio.gather(*sent)

    async def publish_status(self, cause: Record, *statuses: DocumentStatus) -> None:
        """Tell the consumers of the status topic, and the log."""
        for status in statuses:
            log.info(
                status.state.value,
                tenant_id=status.tenant_id,
                document_id=status.document_id,
                revision=status.revision,
                trace_id=trace_id(cause.traceparent),
                chunks_done=status.chunks_done,
            )
        await self.emit(STATUS, cause, ((status, None) for status in statuses))

    async def report(self, cause: Record, status: DocumentStatus) -> None:
        """Store a status and tell the others, unless the revision is further already."""
        if await processing.report(self._pool, status):
            await self.publish_status(cause, status)

    async def resend(self, record: Record, partition: int) -> None:
        """Put a record as it is onto another partition of its topic."""
        await self._producer.send_and_wait(
            record.topic, record.value, key=record.key, headers=list(record.headers), partition=partition
        )

    async def dead_letter(self, record: Record, failure: Failure) -> None:
        """Keep a record that could not be processed: its bytes and headers, its position and the reason.

        A record that came compressed may be too large to be sent on as it is; then its bytes go to the object store.
        """
        reason: dict[str, str | int] = {
            "error_type": failure.type,
            "error_message": failure.message,
            "error_stage": failure.stage,
            "error_attempt": failure.attempt,
            "error_topic": record.topic,
            "error_partition": record.partition,
            "error_offset": record.offset,
            "error_timestamp": record.timestamp_ms,
        }
        value = record.value
        if len(value or b"") > MESSAGE_BYTES_MAX:
            key = f"dead-letters/{record.topic}/{record.partition}-{record.position}"
            await self._blobs.put(key, value or b"")
            value, reason["error_value_key"] = None, key
        await self._producer.send_and_wait(
            DEAD_LETTER.name,
            value,
            key=record.key,
            headers=[*record.headers, *((name, str(value).encode()) for name, value in reason.items())],
            partition=record.partition % DEAD_LETTER.partitions,
        )


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
