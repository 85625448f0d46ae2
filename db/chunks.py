"""`document_chunks`: the searchable text with its vectors."""

from collections.abc import Sequence
from enum import StrEnum

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from db.documents import DocumentKey
from db.pool import Connection, Pool
from db.queries import load
from schemas.events import Chunk, DocumentChunked, DocumentEmbedded

_queries = load("chunks")

COLUMNS = (
    "tenant_id",
    "document_id",
    "revision",
    "ordinal",
    "page",
    "start_char",
    "end_char",
    "token_count",
    "content_hash",
    "headings",
    "places",
    "text",
    "embedder",
    "embedding",
)
HEADING_SEPARATOR = "\n"


class Verdict(StrEnum):
    """What is to be done with a batch."""

    STORE = "store"
    SKIP = "skip"
    """It is not wanted any more, or of an older run than what is stored."""
    MISS = "miss"
    """It is of a new run, but not its beginning."""


async def take(connection: Connection, batches: Sequence[DocumentChunked]) -> dict[DocumentKey, Verdict]:
    """Make room for batches of different documents, whose rows are locked, and say what is to be done with each.

    A revision has the chunks of one run of the parse stage: the newest of which any came. With the first of a newer one
    those of the older go, and the text that it had made is not needed any more.
    """
    rows = _queries.take_batches(
        connection,
        tenant_ids=[batch.tenant_id for batch in batches],
        document_ids=[batch.document_id for batch in batches],
        revisions=[batch.revision for batch in batches],
        runs=[batch.run for batch in batches],
        text_keys=[batch.document.text_key for batch in batches],
        first_ordinals=[batch.chunks[0].ordinal for batch in batches],
        last_ordinals=[batch.chunks[-1].ordinal for batch in batches],
    )
    return {(row["tenant_id"], row["document_id"]): Verdict(row["verdict"]) async for row in rows}


async def store(connection: Connection, batches: Sequence[tuple[DocumentEmbedded, NDArray[np.float16]]]) -> None:
    """Copy batches in, each with its vectors, (chunks, dimensions)."""
    await connection.copy_records_to_table(
        "document_chunks",
        columns=COLUMNS,
        records=[
            _row(batch, chunk, vector)
            for batch, vectors in batches
            for chunk, vector in zip(batch.chunks, vectors, strict=True)
        ],
    )


def _row(batch: DocumentEmbedded, chunk: Chunk, vector: NDArray[np.float16]) -> tuple[object, ...]:
    return (
        batch.tenant_id,
        batch.document_id,
        batch.revision,
        chunk.ordinal,
        chunk.page,
        chunk.start,
        chunk.end,
        chunk.token_count,
        chunk.content_hash,
        HEADING_SEPARATOR.join(chunk.heading_path),
        [place.model_dump(mode="json") for place in chunk.places],
        chunk.text,
        batch.embedder,
        HalfVector(vector),
    )


async def delete_revisions(
    connection: Connection, tenant_id: str, document_id: str, *, lowest: int, highest: int
) -> None:
    """Remove the chunks of the revisions from ``lowest`` to ``highest``."""
    await _queries.delete_revisions(
        connection, tenant_id=tenant_id, document_id=document_id, lowest=lowest, highest=highest
    )


async def page(pool: Pool, tenant_id: str, document_id: str, *, after: int, limit: int) -> Sequence[asyncpg.Record]:
    """The visible chunks of a document in order, from the one behind ordinal ``after`` on."""
    return [
        row
        async for row in _queries.list_chunks(
            pool, tenant_id=tenant_id, document_id=document_id, after=after, limit=limit
        )
    ]


async def known_embeddings(
    pool: Pool, tenant_id: str, embedder: str, content_hashes: Sequence[str]
) -> dict[str, NDArray[np.float16]]:
    """The vectors that the tenant's chunks already have for these contents, by content hash."""
    return {
        row["content_hash"]: row["embedding"].to_numpy()
        async for row in _queries.known_embeddings(
            pool, tenant_id=tenant_id, embedder=embedder, content_hashes=list(content_hashes)
        )
    }
