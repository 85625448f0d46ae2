"""Documents and chunks to put into the tables."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db import chunks, documents
from db.pool import Connection, Pool
from schemas.events import Chunk, DocumentEmbedded, DocumentStatus, ExtractedDocument, Origin, State

EMBEDDER = "tests-4"
DIMENSIONS = 4


def vector(*numbers: float) -> NDArray[np.float16]:
    """A unit vector that begins with these numbers."""
    filled = np.array([*numbers, *[0.0] * (DIMENSIONS - len(numbers))], np.float32)
    return (filled / np.linalg.norm(filled)).astype(np.float16)


def chunk(ordinal: int, text: str, *, heading_path: tuple[str, ...] = ()) -> Chunk:
    """A chunk whose hash is that of its text."""
    return Chunk(
        ordinal=ordinal,
        text=text,
        start=ordinal * 1_000,
        end=ordinal * 1_000 + len(text),
        heading_path=heading_path,
        token_count=len(text.split()),
        content_hash=hashlib.sha256(text.encode()).hexdigest()[:32],
    )


def batch(
    tenant_id: str,
    document_id: str,
    revision: int,
    texts: Sequence[str],
    *,
    first: int = 0,
    total: int | None = None,
    run: int = 1,
    **attributes: Any,
) -> DocumentEmbedded:
    """A batch of a revision's chunks, from ordinal ``first`` on."""
    return DocumentEmbedded(
        tenant_id=tenant_id,
        document_id=document_id,
        origin=Origin(partition=0, position=revision),
        run=run,
        document=ExtractedDocument(
            **{"media_type": "text/plain", **attributes},
            blob_key=f"{tenant_id}/originals/{document_id}-{revision}",
            text_key=f"{tenant_id}/texts/{document_id}-{revision}",
            size_bytes=sum(map(len, texts)),
            text_chars=sum(map(len, texts)),
        ),
        chunks=tuple(chunk(first + index, text) for index, text in enumerate(texts)),
        chunk_total=total or first + len(texts),
        embedder=EMBEDDER,
        dimensions=DIMENSIONS,
    )


async def publish(
    pool: Pool,
    tenant_id: str,
    document_id: str,
    revision: int,
    texts: Sequence[str],
    *,
    vectors: Sequence[NDArray[np.float16]] | None = None,
    **attributes: Any,
) -> None:
    """Make a revision with one chunk for each text the visible one; its old rows go, as the index stage does it."""
    async with pool.acquire() as connection, connection.transaction():
        await publish_in(connection, tenant_id, document_id, revision, texts, vectors=vectors, **attributes)


async def publish_in(
    connection: Connection,
    tenant_id: str,
    document_id: str,
    revision: int,
    texts: Sequence[str],
    *,
    vectors: Sequence[NDArray[np.float16]] | None = None,
    **attributes: Any,
) -> None:
    """The same in a transaction that is under way."""
    made = batch(tenant_id, document_id, revision, texts, **attributes)
    await documents.apply(connection, {(tenant_id, document_id): revision})
    await chunks.take(connection, [made])
    await chunks.store(connection, [(made, np.stack(vectors or [vector(1)] * len(texts)))])
    await documents.publish(connection, [made])


def status(tenant_id: str, document_id: str, revision: int, state: State, **values: Any) -> DocumentStatus:
    """A report on a revision."""
    return DocumentStatus(
        tenant_id=tenant_id,
        document_id=document_id,
        origin=Origin(partition=0, position=revision),
        state=state,
        **values,
    )
