"""`documents`: what readers see of each document."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import DocumentChunked

_queries = load("documents")


DocumentKey = tuple[str, str]
"""Tenant and document."""


async def apply(connection: Connection, positions: Mapping[DocumentKey, int]) -> dict[DocumentKey, int]:
    """Lock documents' rows until commit and note that of each an event of ``documents.embedded`` is applied.

    ``positions``: of the events. Gives the visible revision, or that of the deletion, 0 before the first, of each
    document of which the position was not applied before.
    """
    tenant_ids, document_ids = zip(*positions, strict=True)
    rows = _queries.apply_events(
        connection, tenant_ids=tenant_ids, document_ids=document_ids, positions=list(positions.values())
    )
    return {(row["tenant_id"], row["document_id"]): row["revision"] async for row in rows}


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


@dataclass(frozen=True, slots=True)
class Published:
    """``stored``: how many chunks there are, ``leaves_blobs``: whether blobs may not be needed any more."""

    stored: int
    leaves_blobs: bool


async def publish(connection: Connection, last: Sequence[DocumentChunked]) -> dict[DocumentKey, Published]:
    """Make revisions of different documents, whose last batches these are, what readers see, in place of all before.

    They have their outcome then. One that has other than all of its chunks stored stays as it is.
    """
    rows = _queries.publish_revisions(
        connection,
        revisions=[
            {
                "tenant_id": batch.tenant_id,
                "document_id": batch.document_id,
                "revision": batch.revision,
                "chunk_total": batch.chunk_total,
                "document": batch.document.model_dump(mode="json"),
            }
            for batch in last
        ],
    )
    return {
        (row["tenant_id"], row["document_id"]): Published(row["stored"], bool(row["leaves_blobs"]))
        async for row in rows
    }


async def replace_older(connection: Connection, tenant_id: str, document_id: str, revision: int) -> None:
    """Let nothing be there of a document from before a revision, which is a deletion."""
    await _queries.replace_older(connection, tenant_id=tenant_id, document_id=document_id, revision=revision)


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
