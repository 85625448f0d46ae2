"""`document_chunks`: the searchable text with its vectors."""

from collections.abc import Sequence

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import Chunk, DocumentEmbedded

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


async def store(connection: Connection, batch: DocumentEmbedded, vectors: NDArray[np.float16]) -> None:
    """Copy a batch in, in place of what an interrupted run may have left of it. ``vectors``: (chunks, dimensions)."""
    await _queries.clear_batch(
        connection,
        tenant_id=batch.tenant_id,
        document_id=batch.document_id,
        revision=batch.revision,
        first_ordinal=batch.chunks[0].ordinal,
        last_ordinal=batch.chunks[-1].ordinal,
    )
    await connection.copy_records_to_table(
        "document_chunks",
        columns=COLUMNS,
        records=[_row(batch, chunk, vector) for chunk, vector in zip(batch.chunks, vectors, strict=True)],
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


async def trim(connection: Connection, tenant_id: str, document_id: str, revision: int, chunk_total: int) -> None:
    """Remove the rows of a revision behind its last chunk."""
    await _queries.trim(
        connection, tenant_id=tenant_id, document_id=document_id, revision=revision, chunk_total=chunk_total
    )


async def count(connection: Connection, tenant_id: str, document_id: str, revision: int) -> int:
    """How many chunks of a revision are stored."""
    return int(await _queries.count_chunks(connection, tenant_id=tenant_id, document_id=document_id, revision=revision))


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
