"""`documents`: what readers see of each document."""

from collections.abc import Sequence

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import ExtractedDocument

_queries = load("documents")


async def lock(connection: Connection, tenant_id: str, document_id: str) -> asyncpg.Record:
    """The visible ``revision`` (0 if none yet), ``deleted``, ``blob_key`` and ``text_key``, locked until commit."""
    row: asyncpg.Record = await _queries.lock_document(connection, tenant_id=tenant_id, document_id=document_id)
    return row


async def publish(
    connection: Connection,
    tenant_id: str,
    document_id: str,
    revision: int,
    *,
    document: ExtractedDocument,
    chunk_count: int,
) -> None:
    """Make a revision the one that readers see."""
    await _queries.publish_revision(
        connection,
        tenant_id=tenant_id,
        document_id=document_id,
        revision=revision,
        chunk_count=chunk_count,
        **document.model_dump(),
    )


async def bury(connection: Connection, tenant_id: str, document_id: str, revision: int) -> None:
    """Leave a tombstone at a revision."""
    await _queries.bury_document(connection, tenant_id=tenant_id, document_id=document_id, revision=revision)


async def get(pool: Pool, tenant_id: str, document_id: str) -> asyncpg.Record | None:
    """One document with its newest processing state; None if there is none."""
    row: asyncpg.Record | None = await _queries.get_document(pool, tenant_id=tenant_id, document_id=document_id)
    return row


async def page(
    pool: Pool, tenant_id: str, *, after: str, limit: int, state: str | None, collection: str | None
) -> Sequence[asyncpg.Record]:
    """Documents in the order of their ids, from the one behind ``after`` on."""
    return [
        row
        async for row in _queries.list_documents(
            pool, tenant_id=tenant_id, after=after, limit=limit, state=state, collection=collection
        )
    ]
