"""Index: rows, document, status, letter and Kafka position move in one transaction; readers see one revision at a time.

A revision's rows are stored as its batches come and stay invisible until the last one makes the revision the visible
one, in the same transaction that removes the old rows. What arrives again, or arrives late, changes nothing: its
position was applied to its document, or its revision is not newer than the visible one, or has ended.
"""

from collections.abc import Sequence

import asyncpg
import numpy as np

from db import blob_uses, chunks, conversations, dead_letters, documents, processing
from db.blobs import Blobs
from db.pool import Connection, Pool
from schemas.errors import MillraceError
from schemas.events import (
    DocumentDropped,
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentStatus,
    DocumentSubmitted,
    Failure,
    State,
)
from schemas.topics import EMBEDDED
from schemas.wire import VECTOR_TYPE, decode
from streams.outbox import Outbox, failed_event, letter_of_submission
from streams.record import Record
from streams.stage import Stage

Embedded = DocumentEmbedded | DocumentFailed | DocumentForgotten | DocumentDropped
EMBEDDED_KINDS: tuple[type[Embedded], ...] = (DocumentEmbedded, DocumentFailed, DocumentForgotten, DocumentDropped)


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
    """Events in one transaction: what waits when the last commit returns."""

    def __init__(self, outbox: Outbox, attempts_max: int, pool: Pool, blobs: Blobs) -> None:
        super().__init__(outbox, attempts_max)
        self._pool = pool
        self._blobs = blobs

    async def handle(self, records: Sequence[Record]) -> None:
        """Apply the records in one transaction, then tell the others and clear away what nobody needs."""
        events = [(record, *_read(record)) for record in records]
        statuses: list[tuple[Record, DocumentStatus]] = []
        async with self._pool.acquire() as connection, connection.transaction():
            for record, event, binary in events:
                status = await self._apply(connection, record, event, binary)
                if status and status.state.final:
                    statuses.append((record, status))
        await self._tell(statuses)

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Record the failure, so that the revision's other batches are ignored; keep what is about no submission."""
        event = failed_event(record, failure)
        if event is None or not _is_of_submission(record):
            await self.outbox.keep(record, failure)
        if event is None:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            status = await self._apply(connection, record, event, memoryview(b""))
        if status:
            await self._tell([(record, status)])

    async def _tell(self, statuses: Sequence[tuple[Record, DocumentStatus]]) -> None:
        """Say what was committed: the status, the letter, and to the object store what nobody needs any more."""
        for record, status in statuses:
            await self.outbox.publish_status(record, status)
            if status.state is State.FAILED:
                await self.outbox.publish_letters()
        for tenant_id, document_id in {(status.tenant_id, status.document_id) for _, status in statuses}:
            derived_only = not await self.outbox.standing.is_live()
            await blob_uses.sweep(self._pool, self._blobs, tenant_id, document_id, derived_only=derived_only)

    async def _apply(
        self, connection: Connection, record: Record, event: Embedded, binary: memoryview
    ) -> DocumentStatus | None:
        """Apply an event and return the status that followed from it, if its revision has come to its end."""
        row = await documents.apply(connection, event.tenant_id, event.document_id, record.position)
        if row is None:
            # Its effects are stored, but the process may have ended before it could tell.
            return await processing.get(connection, event)
        match event:
            case DocumentEmbedded():
                status = await self._store(connection, row, event, binary)
            case DocumentFailed():
                status = await self._fail(connection, row, event)
            case DocumentForgotten():
                status = await self._forget(connection, row, event)
            case DocumentDropped():
                status = await self._drop(connection, row, event)
        if isinstance(event, DocumentDropped) or (status and status.state.final):
            await documents.settle(connection, event.tenant_id, event.document_id, event.origin.position)
        return status

    async def _store(
        self, connection: Connection, row: asyncpg.Record, batch: DocumentEmbedded, binary: memoryview
    ) -> DocumentStatus | None:
        """Store a batch; if it closes its revision, publish that and return the new status."""
        if len(binary) != 2 * len(batch.chunks) * batch.dimensions:
            raise VectorsMissing(f"{len(binary)} bytes are no {len(batch.chunks)} of {batch.dimensions} float16.")
        tenant_id, document_id, revision = batch.tenant_id, batch.document_id, batch.revision
        if not await processing.is_wanted(connection, tenant_id, document_id, revision):
            return None
        if not await self._is_of_stored_run(connection, batch):
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
        kept = [batch.document.blob_key, batch.document.text_key]
        await self._replace_older(connection, batch, kept)
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

    async def _is_of_stored_run(self, connection: Connection, batch: DocumentEmbedded) -> bool:
        """Whether a batch belongs to the run of the parse stage that is being stored: the newest that has come.

        A submission may be parsed more than once, also by a worker that does not know that it has lost its partition,
        and by another version of the code: chunks of two runs do not fit together. An older one may end half way; the
        newest is begun again until it is whole.
        """
        known = await processing.run_of(connection, batch)
        stored = known["run"] if known else 0
        if batch.run == stored:
            return True
        if batch.run < stored:
            return False
        if batch.chunks[0].ordinal != 0:
            raise ChunksMissing("Those at its beginning did not come.")
        before = await processing.store_run(connection, batch)
        ids = batch.tenant_id, batch.document_id
        await chunks.delete_revisions(connection, *ids, lowest=batch.revision, highest=batch.revision)
        if before:
            await blob_uses.end(connection, *ids, batch.revision, before)
        return True

    async def _replace_older(
        self, connection: Connection, event: DocumentEmbedded | DocumentForgotten, kept: Sequence[str]
    ) -> None:
        """A revision, or a deletion, takes the place of all before it."""
        ids = event.tenant_id, event.document_id
        await chunks.delete_revisions(connection, *ids, lowest=0, highest=event.revision - 1)
        await processing.forget_older(connection, *ids, event.revision)
        await dead_letters.supersede(connection, *ids, event.revision)
        await blob_uses.end_up_to(connection, *ids, event.revision, kept=kept)

    async def _fail(self, connection: Connection, row: asyncpg.Record, event: DocumentFailed) -> DocumentStatus | None:
        """Record a failure with its letter, and return where the revision stands then; what has ended stays so."""
        status = DocumentStatus(
            tenant_id=event.tenant_id,
            document_id=event.document_id,
            origin=event.origin,
            state=State.FAILED,
            attempt=event.error.attempt,
            error=event.error,
        )
        if row["revision"] < event.revision and await processing.report(connection, status):
            run = await processing.run_of(connection, event)
            if run and run["submission"]:
                submission = DocumentSubmitted.model_validate(run["submission"])
                await dead_letters.add(
                    connection, letter_of_submission(submission, event.origin, run["received_at"], event.error)
                )
            await self._clear(connection, event, lowest=event.revision, highest=event.revision)
        return await processing.get(connection, event)

    async def _drop(self, connection: Connection, row: asyncpg.Record, event: DocumentDropped) -> DocumentStatus | None:
        """Nothing comes of a place in the log, or nothing more of the unfinished revisions before it."""
        ids = event.tenant_id, event.document_id
        if event.error is None:
            await self._clear(connection, event, lowest=row["revision"] + 1, highest=event.revision - 1)
            return None
        if row["revision"] > event.revision:
            await blob_uses.end_between(
                connection, *ids, lowest=event.revision, highest=event.revision, derived_only=False
            )
            return None
        status = DocumentStatus(
            tenant_id=event.tenant_id,
            document_id=event.document_id,
            origin=event.origin,
            state=State.CANCELLED,
            error=event.error,
        )
        await processing.report(connection, status)
        stored = await processing.get(connection, event)
        if stored and stored.state is State.CANCELLED:
            await self._clear(connection, event, lowest=event.revision, highest=event.revision)
        return stored

    async def _clear(
        self, connection: Connection, event: DocumentFailed | DocumentDropped, *, lowest: int, highest: int
    ) -> None:
        """Remove what was made of revisions that will not be; what was submitted stays, for another attempt."""
        ids = event.tenant_id, event.document_id
        await chunks.delete_revisions(connection, *ids, lowest=lowest, highest=highest)
        await blob_uses.end_between(connection, *ids, lowest=lowest, highest=highest, derived_only=True)

    async def _forget(
        self, connection: Connection, row: asyncpg.Record, event: DocumentForgotten
    ) -> DocumentStatus | None:
        if row["revision"] < event.revision:
            await documents.bury(connection, event.tenant_id, event.document_id, event.revision)
            await self._replace_older(connection, event, [])
            if await self.outbox.standing.speaks():  # or what a rebuild deletes once more may have come back since
                await conversations.withdraw(connection, event.tenant_id, event.document_id)
            await processing.report(
                connection,
                DocumentStatus(
                    tenant_id=event.tenant_id, document_id=event.document_id, origin=event.origin, state=State.DELETED
                ),
            )
        return await processing.get(connection, event)


def _read(record: Record) -> tuple[Embedded, memoryview]:
    return decode(EMBEDDED_KINDS, record.key, record.value, record.headers)


def _is_of_submission(record: Record) -> bool:
    """Whether a record is about something that was submitted: then its letter is written with the outcome."""
    try:
        event, _ = _read(record)
    except MillraceError:
        return False
    return isinstance(event, DocumentEmbedded | DocumentFailed)
