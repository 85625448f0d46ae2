"""`documents`: what readers see of each document."""

from collections.abc import Collection, Sequence

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import ExtractedDocument

_queries = load("documents")


async def apply(connection: Connection, tenant_id: str, document_id: str, position: int) -> asyncpg.Record | None:
    """Lock a document's row until commit and note that an event at a position of ``documents.embedded`` is applied.

    The row's ``revision`` (0 before the first), ``deleted``, ``cancelled``, ``blob_key`` and ``text_key``; None where
    the position was applied before.
    """
    row: asyncpg.Record | None = await _queries.apply_event(
        connection, tenant_id=tenant_id, document_id=document_id, position=position
    )
    return row


async def lock(connection: Connection, tenant_id: str, document_id: str) -> int:
    """Lock a document's row until commit; its visible revision, or that of its deletion, 0 before the first."""
    return int(await _queries.lock_document(connection, tenant_id=tenant_id, document_id=document_id))


async def settle(connection: Connection, tenant_id: str, document_id: str, position: int) -> None:
    """Note that everything up to a position of ``documents.submitted`` has its outcome: who waits for it goes on."""
    await _queries.settle(connection, tenant_id=tenant_id, document_id=document_id, position=position)


async def cancel(connection: Connection, tenant_id: str, document_id: str, position: int) -> None:
    """Nothing unfinished from before a position of ``documents.submitted`` is wanted any more; locks until commit."""
    await _queries.cancel(connection, tenant_id=tenant_id, document_id=document_id, position=position)


async def gone(connection: Connection, tenant_id: str, document_ids: Collection[str]) -> set[str]:
    """Which of the documents are deleted; none of them changes until commit."""
    held = _queries.hold(connection, tenant_id=tenant_id, document_ids=sorted(document_ids))
    return {row["document_id"] async for row in held if row["gone"]}


async def publish(
    connection: Connection,
    tenant_id: str,
    document_id: str,
    revision: int,
    *,
    document: ExtractedDocument,
    chunk_count: int,
) -> None:
    """Make a revision, whose chunks are stored, the one that readers see."""
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
