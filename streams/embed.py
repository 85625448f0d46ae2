"""Embed: batches of chunks get their vectors; content that already has one keeps it."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from db import chunks, processing
from db.pool import Pool
from engine.embed import Embedder
from schemas.errors import InvalidEvent
from schemas.events import (
    DocumentChunked,
    DocumentDropped,
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentStatus,
    Event,
    Failure,
    State,
)
from schemas.topics import CHUNKED, EMBEDDED
from schemas.wire import VECTOR_TYPE, decode
from streams import metrics
from streams.outbox import Outbox, failed_event, status_of_batch
from streams.record import Record
from streams.stage import Stage

Chunked = DocumentChunked | DocumentFailed | DocumentForgotten | DocumentDropped
CHUNKED_KINDS: tuple[type[Chunked], ...] = (DocumentChunked, DocumentFailed, DocumentForgotten, DocumentDropped)


class EmbedStage(Stage):
    """``documents.chunked`` → ``documents.embedded``."""

    name = "embed"
    topic = CHUNKED
    batch_records_max = 16
    """Of small documents, so that an endpoint's or a device's batches are full; a full event goes alone."""

    def __init__(self, outbox: Outbox, attempts_max: int, embedder: Embedder, pool: Pool) -> None:
        super().__init__(outbox, attempts_max)
        self._embedder = embedder
        self._pool = pool

    async def handle(self, records: Sequence[Record]) -> None:
        """Embed the batches that are still wanted and pass the rest on, all in their order."""
        read = [(record, _read(record)) for record in records]
        batches = [event for _, event in read if isinstance(event, DocumentChunked)]
        wanted = (
            await processing.wanted(self._pool, {processing.key_of(batch) for batch in batches}) if batches else set()
        )
        vectors = await self._vectors([batch for batch in batches if processing.key_of(batch) in wanted])
        made: list[tuple[Record, Event, bytes | None]] = []
        newest: dict[processing.RevisionKey, tuple[Record, DocumentStatus]] = {}
        for record, event in read:
            if not isinstance(event, DocumentChunked):
                made.append((record, event, None))
            elif (key := processing.key_of(event)) in wanted:
                made.append((record, *self._embedded(event, vectors)))
                # A document of one batch is indexed before anybody has looked.
                if len(event.chunks) < event.chunk_total:
                    state = State.INDEXING if event.last else State.EMBEDDING
                    newest[key] = record, status_of_batch(event, state, event.chunks[-1].ordinal + 1)
        # Before the vectors, for the same reason as in `streams.parse`: the index stage has the last word.
        if newest:
            await self.outbox.report(list(newest.values()))
        await self.outbox.emit_all(EMBEDDED, made)

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Send the failure down the line, where it ends the revision; keep what is about no submission."""
        event = None
        with suppress(InvalidEvent):
            event = _read(record)
        if not isinstance(event, DocumentChunked | DocumentFailed):
            await self.outbox.keep(record, failure)
        if failed := failed_event(record, failure):
            await self.outbox.emit(EMBEDDED, record, [(failed, None)])

    async def note_retry(self, record: Record, failure: Failure, attempt: int) -> None:
        """Let the document's status say how often it was tried."""
        await self.outbox.note_attempt(record, _read(record).revision, attempt)

    async def _vectors(self, batches: Sequence[DocumentChunked]) -> dict[tuple[str, str], NDArray[np.float16]]:
        """The vector of each content, by tenant and content hash."""
        wanted = {
            (batch.tenant_id, chunk.content_hash): chunk.embedding_input()
            for batch in batches
            for chunk in batch.chunks
        }
        vectors: dict[tuple[str, str], NDArray[np.float16]] = {}
        for tenant_id in {tenant_id for tenant_id, _ in wanted}:
            hashes = [content_hash for tenant, content_hash in wanted if tenant == tenant_id]
            known = await chunks.known_embeddings(self._pool, tenant_id, self._embedder.name, hashes)
            vectors |= {(tenant_id, content_hash): vector for content_hash, vector in known.items()}
        missing = [content for content in wanted if content not in vectors]
        metrics.EMBEDDED.inc(len(missing))
        metrics.REUSED.inc(sum(len(batch.chunks) for batch in batches) - len(missing))
        if missing:
            made = await self._embedder.embed([wanted[content] for content in missing])
            vectors |= zip(missing, made, strict=True)
        return vectors

    def _embedded(
        self, batch: DocumentChunked, vectors: dict[tuple[str, str], NDArray[np.float16]]
    ) -> tuple[DocumentEmbedded, bytes]:
        rows = np.stack([vectors[batch.tenant_id, chunk.content_hash] for chunk in batch.chunks])
        embedded = DocumentEmbedded(**dict(batch), embedder=self._embedder.name, dimensions=self._embedder.dimensions)
        return embedded, rows.astype(VECTOR_TYPE).tobytes()


def _read(record: Record) -> Chunked:
    event, _ = decode(CHUNKED_KINDS, record.key, record.value, record.headers)
    return event
