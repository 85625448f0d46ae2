"""What a generation takes from the one that it follows, and leaves behind when it goes."""

from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from db.blobs import Blobs
from db.pool import Pool
from db.queries import load

BLOBS_AT_ONCE = 1_000
SOON = timedelta(seconds=5)
"""Longer than a document takes on a system that keeps up."""


async def outcome(pool: Pool, leader: int, tenant_id: str, document_id: str, revision: int) -> asyncpg.Record | None:
    """What became of a revision in another generation; None before that is settled, or where that one is gone.

    ``superseded`` and ``cancelled`` say that nothing may come of it here either; ``submission`` is what it was made of.
    """
    try:
        row: asyncpg.Record | None = await load("succession", leader=leader, follower=leader).outcome(
            pool, tenant_id=tenant_id, document_id=document_id, revision=revision
        )
    except asyncpg.UndefinedTableError:
        return None
    return row


@dataclass(frozen=True, slots=True)
class Progress:
    """In documents: how many there are, how many are done, how many are late, and how many failed that the other shows.

    Late is what the other generation has done for longer than `SOON`; where all goes on, something is always missing.
    """

    total: int
    done: int
    late: int
    failed: int


async def progress(pool: Pool, leader: int, follower: int) -> Progress:
    """How far a generation is, held against another one."""
    return Progress(**await load("succession", leader=leader, follower=follower).progress(pool, soon=SOON))


async def delete_blobs(pool: Pool, blobs: Blobs, leader: int, number: int) -> int:
    """Delete what only this generation needs from the object store, and say how many blobs that were.

    Raises `BlobsUnavailable`; the next call goes on.
    """
    queries = load("succession", leader=leader, follower=number)
    deleted = 0
    while needless := [
        (row["tenant_id"], row["blob_key"]) async for row in queries.own_blobs(pool, limit=BLOBS_AT_ONCE)
    ]:
        for tenant_id, blob_key in needless:
            await blobs.delete([blob_key])
            await queries.forget_blob(pool, tenant_id=tenant_id, blob_key=blob_key)
        deleted += len(needless)
    return deleted
