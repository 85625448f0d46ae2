"""Index: rows, document, status and Kafka position move in one transaction; readers see one revision at a time.

A revision's rows are stored as its batches come and stay invisible until the last one makes the revision the visible
one, in the same transaction that removes the old rows. What arrives again, or arrives late, changes nothing: its
position was passed, or its revision is not newer than the visible one.
"""

from collections.abc import Sequence

import asyncpg
import numpy as np

from db import chunks, documents, positions, processing
from db.blobs import Blobs
from db.pool import Connection, Pool
from schemas.errors import MillraceError
from schemas.events import (
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentStatus,
    Failure,
    State,
)
from schemas.topics import EMBEDDED, SUBMITTED
from schemas.wire import VECTOR_TYPE, decode
from streams.outbox import Outbox, failed_event
from streams.record import Record
from streams.stage import Stage

Embedded = DocumentEmbedded | DocumentFailed | DocumentForgotten


class ChunksMissing(MillraceError):
    """The last batch of a revision arrived, but not all the others."""

    type = "chunks-missing"


class VectorsMissing(MillraceError):
    """A batch of chunks came with more or fewer vectors."""

    type = "vectors-missing"


class IndexStage(Stage):
    """``documents.embedded`` → Postgres."""

    name = "index"
    topic = EMBEDDED
    batch_records_max = 16
    """Events in one transaction: what waits in the lane when the last commit returns."""

    def __init__(self, outbox: Outbox, attempts_max: int, pool: Pool, blobs: Blobs) -> None:
        super().__init__(outbox, attempts_max)
        self._pool = pool
        self._blobs = blobs

    async def handle(self, records: Sequence[Record]) -> None:
        """Apply the records in one transaction, then tell the others and clear away what nobody needs."""
        events = [(record, *_read(record)) for record in records]
        statuses: list[tuple[Record, DocumentStatus]] = []
        unused_blobs: list[str] = []
        async with self._pool.acquire() as connection, connection.transaction():
            for record, event, binary in events:
                if not await self._is_new(connection, record, event):
                    # Its effects are stored, but the process may have ended before it could tell.
                    status = await processing.get(connection, event)
                elif isinstance(event, DocumentEmbedded):
                    status = await self._store(connection, event, binary, unused_blobs)
                elif isinstance(event, DocumentFailed):
                    status = await self._fail(connection, event, event.error)
                else:
                    status = await self._forget(connection, event, unused_blobs)
                if status and status.state.final:
                    await self._close(connection, event)
                    statuses.append((record, status))
        for record, status in statuses:
            await self.outbox.publish_status(record, status)
        await self._blobs.delete(unused_blobs)

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Record the failure; the revision's remaining batches are ignored."""
        event = failed_event(record, failure)
        if event is None:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            status = await self._fail(connection, event, failure)
            await self._close(connection, event)
        if status:
            await self.outbox.publish_status(record, status)

    async def _close(self, connection: Connection, event: Embedded) -> None:
        """Note that nothing more comes of the submission that an event began with: reads that wait for it go on."""
        await positions.advance(
            connection,
            tenant_id=event.tenant_id,
            group=self.group,
            topic=SUBMITTED.name,
            partition=event.origin.partition,
            position=event.origin.position,
        )

    async def _is_new(self, connection: Connection, record: Record, event: Embedded) -> bool:
        return await positions.advance(
            connection,
            tenant_id=event.tenant_id,
            group=self.group,
            topic=EMBEDDED.name,
            partition=record.partition,
            position=record.position,
        )

    async def _store(
        self, connection: Connection, batch: DocumentEmbedded, binary: memoryview, unused_blobs: list[str]
    ) -> DocumentStatus | None:
        """Store a batch; if it closes its revision, publish that and return the new status."""
        if len(binary) != 2 * len(batch.chunks) * batch.dimensions:
            raise VectorsMissing(f"{len(binary)} bytes are no {len(batch.chunks)} of {batch.dimensions} float16.")
        tenant_id, document_id, revision = batch.tenant_id, batch.document_id, batch.revision
        visible = await documents.lock(connection, tenant_id, document_id)
        if visible["revision"] >= revision or await processing.has_failed(connection, tenant_id, document_id, revision):
            return None
        vectors = np.frombuffer(binary, VECTOR_TYPE).reshape(len(batch.chunks), batch.dimensions)
        await chunks.store(connection, batch, vectors)
        if not batch.last:
            return None
        await chunks.trim(connection, tenant_id, document_id, revision, batch.chunk_total)
        stored = await chunks.count(connection, tenant_id, document_id, revision)
        if stored != batch.chunk_total:
            raise ChunksMissing(f"{stored} of {batch.chunk_total} are here.")
        await documents.publish(
            connection, tenant_id, document_id, revision, document=batch.document, chunk_count=stored
        )
        await chunks.delete_revisions(connection, tenant_id, document_id, lowest=0, highest=revision - 1)
        await processing.forget_older(connection, tenant_id, document_id, revision)
        unused_blobs += _other_keys(visible, {batch.document.blob_key, batch.document.text_key})
        status = DocumentStatus(
            tenant_id=tenant_id,
            document_id=document_id,
            origin=batch.origin,
            state=State.INDEXED,
            chunks_total=stored,
            chunks_done=stored,
            filename=batch.document.filename,
            title=batch.document.title,
            media_type=batch.document.media_type,
        )
        await processing.report(connection, status)
        return status

    async def _fail(self, connection: Connection, event: Embedded, failure: Failure) -> DocumentStatus | None:
        """Record a failure and return where the revision stands then; what was indexed before stays so."""
        visible = await documents.lock(connection, event.tenant_id, event.document_id)
        if visible["revision"] < event.revision:
            await chunks.delete_revisions(
                connection, event.tenant_id, event.document_id, lowest=event.revision, highest=event.revision
            )
            await processing.report(
                connection,
                DocumentStatus(
                    tenant_id=event.tenant_id,
                    document_id=event.document_id,
                    origin=event.origin,
                    state=State.FAILED,
                    attempt=failure.attempt,
                    error=failure,
                ),
            )
        return await processing.get(connection, event)

    async def _forget(
        self, connection: Connection, event: DocumentForgotten, unused_blobs: list[str]
    ) -> DocumentStatus | None:
        visible = await documents.lock(connection, event.tenant_id, event.document_id)
        if visible["revision"] < event.revision:
            await documents.bury(connection, event.tenant_id, event.document_id, event.revision)
            await chunks.delete_revisions(
                connection, event.tenant_id, event.document_id, lowest=0, highest=event.revision
            )
            await processing.forget_older(connection, event.tenant_id, event.document_id, event.revision)
            unused_blobs += _other_keys(visible, set())
            await processing.report(
                connection,
                DocumentStatus(
                    tenant_id=event.tenant_id, document_id=event.document_id, origin=event.origin, state=State.DELETED
                ),
            )
        return await processing.get(connection, event)


def _other_keys(visible: asyncpg.Record, kept: set[str]) -> list[str]:
    return [key for key in (visible["blob_key"], visible["text_key"]) if key and key not in kept]


def _read(record: Record) -> tuple[Embedded, memoryview]:
    kinds: tuple[type[Embedded], ...] = (DocumentEmbedded, DocumentFailed, DocumentForgotten)
    return decode(kinds, record.key, record.value, record.headers)
