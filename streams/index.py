"""Index: rows, document, status, letter and Kafka position move in one transaction; readers see one revision at a time.

A revision's rows are stored as its batches come and stay invisible until the last one makes the revision the visible
one, in the same transaction that removes the old rows. What arrives again, or arrives late, changes nothing: its
position was applied to its document, or its revision is not newer than the visible one, or has ended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
from streams.outbox import Outbox, failed_event, letter_of_submission, status_of_batch
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """That a record has brought a revision to its end. ``leaves_blobs``: some may not be needed any more."""

    record: Record
    status: DocumentStatus
    leaves_blobs: bool = True


class IndexStage(Stage):
    """``documents.embedded`` → Postgres."""

    name = "index"
    topic = EMBEDDED
    concurrency = 2
    """While one transaction is committed, the next is filled; more of them would be smaller."""
    batch_records_max = 32
    """Events in one transaction: what waits when the last commit returns."""

    def __init__(self, outbox: Outbox, attempts_max: int, pool: Pool, blobs: Blobs) -> None:
        super().__init__(outbox, attempts_max)
        self._pool = pool
        self._blobs = blobs

    async def handle(self, records: Sequence[Record]) -> None:
        """Apply the records in one transaction, then tell the others and clear away what nobody needs."""
        outcomes: list[Outcome] = []
        async with self._pool.acquire() as connection, connection.transaction():
            for events in _rounds([(record, *_read(record)) for record in records]):
                outcomes += await self._apply(connection, events)
        await self._tell(outcomes)

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Record the failure, so that the revision's other batches are ignored; keep what is about no submission."""
        event = failed_event(record, failure)
        if event is None or not _is_of_submission(record):
            await self.outbox.keep(record, failure)
        if event is None:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            outcomes = await self._apply(connection, [(record, event, memoryview(b""))])
        await self._tell(outcomes)

    async def _tell(self, outcomes: Sequence[Outcome]) -> None:
        """Say what was committed: the status, the letter, and to the object store what nobody needs any more."""
        await self.outbox.tell([(outcome.record, outcome.status) for outcome in outcomes])
        if any(outcome.status.state is State.FAILED for outcome in outcomes):
            await self.outbox.publish_letters()
        left = {(outcome.status.tenant_id, outcome.status.document_id) for outcome in outcomes if outcome.leaves_blobs}
        if left:
            derived_only = not await self.outbox.standing.is_live()
            await blob_uses.sweep(self._pool, self._blobs, left, derived_only=derived_only)

    async def _apply(
        self, connection: Connection, events: Sequence[tuple[Record, Embedded, memoryview]]
    ) -> list[Outcome]:
        """Apply events of different documents; what has followed from those whose revision has come to its end."""
        visible = await documents.apply(
            connection, {(event.tenant_id, event.document_id): record.position for record, event, _ in events}
        )
        outcomes = []
        batches = []
        for record, event, binary in events:
            revision = visible.get((event.tenant_id, event.document_id))
            match event:
                case _ if revision is None:
                    # Its effects are stored, but the process may have ended before it could tell.
                    status = await processing.get(connection, event)
                case DocumentEmbedded():
                    batches.append((record, event, binary))
                    continue
                case DocumentFailed():
                    status = await self._fail(connection, revision, event)
                case DocumentForgotten():
                    status = await self._forget(connection, revision, event)
                case DocumentDropped():
                    status = await self._drop(connection, revision, event)
            is_final = status is not None and status.state.final
            if revision is not None and (is_final or isinstance(event, DocumentDropped)):
                await documents.settle(connection, event.tenant_id, event.document_id, event.revision)
            if status and is_final:
                outcomes.append(Outcome(record, status))
        return outcomes + await self._store(connection, batches)

    async def _store(
        self, connection: Connection, batches: Sequence[tuple[Record, DocumentEmbedded, memoryview]]
    ) -> list[Outcome]:
        """Store batches, and publish the revisions that they close.

        A submission may be parsed more than once, also by a worker that does not know that it has lost its partition,
        and by another version of the code: chunks of two runs do not fit together. An older one may end half way; the
        newest is begun again until it is whole.
        """
        if not batches:
            return []
        verdicts = await chunks.take(connection, [batch for _, batch, _ in batches])
        taken = []
        for record, batch, binary in batches:
            verdict = verdicts[batch.tenant_id, batch.document_id]
            if verdict is chunks.Verdict.MISS:
                raise ChunksMissing("Those at its beginning did not come.")
            if verdict is chunks.Verdict.STORE:
                taken.append((record, batch, _vectors(batch, binary)))
        if taken:
            await chunks.store(connection, [(batch, vectors) for _, batch, vectors in taken])
        last = [(record, batch) for record, batch, _ in taken if batch.last]
        return await self._publish(connection, last) if last else []

    async def _publish(self, connection: Connection, last: Sequence[tuple[Record, DocumentEmbedded]]) -> list[Outcome]:
        published = await documents.publish(connection, [batch for _, batch in last])
        outcomes = []
        for record, batch in last:
            made = published[batch.tenant_id, batch.document_id]
            if made.stored != batch.chunk_total:
                raise ChunksMissing(f"{made.stored} of {batch.chunk_total} are here.")
            status = status_of_batch(batch, State.INDEXED, made.stored)
            outcomes.append(Outcome(record, status, leaves_blobs=made.leaves_blobs))
        await processing.report(connection, [outcome.status for outcome in outcomes])
        return outcomes

    async def _fail(self, connection: Connection, visible: int, event: DocumentFailed) -> DocumentStatus | None:
        """Record a failure with its letter, and return where the revision stands then; what has ended stays so."""
        status = DocumentStatus(
            tenant_id=event.tenant_id,
            document_id=event.document_id,
            origin=event.origin,
            state=State.FAILED,
            attempt=event.error.attempt,
            error=event.error,
        )
        if visible < event.revision and any(await processing.report(connection, [status])):
            known = await processing.submission_of(connection, event)
            if known and known["submission"]:
                submission = DocumentSubmitted.model_validate(known["submission"])
                await dead_letters.add(
                    connection, letter_of_submission(submission, event.origin, known["received_at"], event.error)
                )
            await self._clear(connection, event, lowest=event.revision, highest=event.revision)
        return await processing.get(connection, event)

    async def _drop(self, connection: Connection, visible: int, event: DocumentDropped) -> DocumentStatus | None:
        """Nothing comes of a place in the log, or nothing more of the unfinished revisions before it."""
        ids = event.tenant_id, event.document_id
        if event.error is None:
            await self._clear(connection, event, lowest=visible + 1, highest=event.revision - 1)
            return None
        if visible > event.revision:
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
        await processing.report(connection, [status])
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

    async def _forget(self, connection: Connection, visible: int, event: DocumentForgotten) -> DocumentStatus | None:
        if visible < event.revision:
            await documents.bury(connection, event.tenant_id, event.document_id, event.revision)
            await documents.replace_older(connection, event.tenant_id, event.document_id, event.revision)
            if await self.outbox.standing.speaks():  # or what a rebuild deletes once more may have come back since
                await conversations.withdraw(connection, event.tenant_id, event.document_id)
            deleted = DocumentStatus(
                tenant_id=event.tenant_id, document_id=event.document_id, origin=event.origin, state=State.DELETED
            )
            await processing.report(connection, [deleted])
        return await processing.get(connection, event)


def _rounds(
    events: Sequence[tuple[Record, Embedded, memoryview]],
) -> Iterator[list[tuple[Record, Embedded, memoryview]]]:
    """Part events so that each document has one in each round, in their order.

    The first round has every document, so that all are locked at once, and nobody waits in a circle.
    """
    while events:
        first = {(event.tenant_id, event.document_id): place for place, (_, event, _) in reversed([*enumerate(events)])}
        places = set(first.values())
        yield [events[place] for place in sorted(places)]
        events = [each for place, each in enumerate(events) if place not in places]


def _vectors(batch: DocumentEmbedded, binary: memoryview) -> NDArray[np.float16]:
    if len(binary) != 2 * len(batch.chunks) * batch.dimensions:
        raise VectorsMissing(f"{len(binary)} bytes are no {len(batch.chunks)} of {batch.dimensions} float16.")
    return np.frombuffer(binary, VECTOR_TYPE).reshape(len(batch.chunks), batch.dimensions)


def _read(record: Record) -> tuple[Embedded, memoryview]:
    return decode(EMBEDDED_KINDS, record.key, record.value, record.headers)


def _is_of_submission(record: Record) -> bool:
    """Whether a record is about something that was submitted: then its letter is written with the outcome."""
    try:
        event, _ = _read(record)
    except MillraceError:
        return False
    return isinstance(event, DocumentEmbedded | DocumentFailed)
