"""`blob_uses`: which revision needs which blob, so that every blob goes when nobody needs it, and not before."""

from collections.abc import Sequence

from db import documents, processing
from db.blobs import Blobs
from db.pool import Connection, Pool
from db.queries import load

_queries = load("blob_uses")

SWEPT_BLOBS_MAX = 1_000
"""In one round of deleting."""


async def begin(pool: Pool, tenant_id: str, document_id: str, revision: int, blob_key: str, *, derived: bool) -> bool:
    """Note a use before the blob is written or read; false where it has ended already, or would never end.

    Under the document's lock, so that whoever ends the uses of a revision ends this one, too, or this one never begins:
    a run of the parse stage that comes too late leaves no blob behind. ``derived``: made by the parse stage, not
    submitted.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await documents.lock(connection, tenant_id, document_id) > revision:
            return False
        if derived and not await processing.is_wanted(connection, tenant_id, document_id, revision):
            return False
        began = await _queries.begin_use(
            connection,
            tenant_id=tenant_id,
            document_id=document_id,
            revision=revision,
            blob_key=blob_key,
            derived=derived,
        )
    return bool(began)


async def is_needed(pool: Pool, tenant_id: str, blob_key: str) -> bool:
    """Whether any revision needs the blob."""
    return bool(await _queries.is_needed(pool, tenant_id=tenant_id, blob_key=blob_key))


async def end_up_to(
    connection: Connection, tenant_id: str, document_id: str, revision: int, *, kept: Sequence[str]
) -> None:
    """End the uses of all revisions up to this one, but for the blobs in ``kept``."""
    await _queries.end_uses(
        connection, tenant_id=tenant_id, document_id=document_id, revision=revision, kept=list(kept)
    )


async def end_between(
    connection: Connection, tenant_id: str, document_id: str, *, lowest: int, highest: int, derived_only: bool
) -> None:
    """End the uses of the revisions from ``lowest`` to ``highest``: of what was made of them, or of all."""
    await _queries.end_uses_between(
        connection,
        tenant_id=tenant_id,
        document_id=document_id,
        lowest=lowest,
        highest=highest,
        derived_only=derived_only,
    )


async def end(connection: Connection, tenant_id: str, document_id: str, revision: int, blob_key: str) -> None:
    """End one use."""
    await _queries.end_use(
        connection, tenant_id=tenant_id, document_id=document_id, revision=revision, blob_key=blob_key
    )


async def sweep(
    pool: Pool,
    blobs: Blobs,
    tenant_id: str | None = None,
    document_id: str | None = None,
    *,
    derived_only: bool = False,
) -> int:
    """Delete the blobs that nobody needs, of one document or of all, and say how many those were.

    ``derived_only``: not what was submitted, which other generations share.

    Raises `BlobsUnavailable`; then the rest is found again the next time.
    """
    needless = [
        (row["tenant_id"], row["blob_key"])
        async for row in _queries.needless(
            pool,
            tenant_id=tenant_id,
            document_id=document_id,
            derived_only=derived_only,
            limit=SWEPT_BLOBS_MAX,
        )
    ]
    for owner, blob_key in needless:
        await blobs.delete([blob_key])
        await _queries.forget_blob(pool, tenant_id=owner, blob_key=blob_key)
    return len(needless)
