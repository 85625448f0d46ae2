"""`blob_uses`: which revision needs which blob, so that every blob goes when nobody needs it, and not before."""

from collections.abc import Collection, Sequence

from db.blobs import Blobs
from db.documents import DocumentKey
from db.pool import Connection, Pool
from db.queries import load

_queries = load("blob_uses")

SWEPT_BLOBS_MAX = 1_000
"""In one round of deleting."""


async def needed(pool: Pool, blobs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether any revision needs the blobs, each named by its tenant and key."""
    tenant_ids, blob_keys = zip(*blobs, strict=True)
    rows = _queries.needed(pool, tenant_ids=tenant_ids, blob_keys=blob_keys)
    found = {tuple(row) async for row in rows}
    return [blob in found for blob in blobs]


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


async def sweep(
    pool: Pool,
    blobs: Blobs,
    of: Collection[DocumentKey] | None = None,
    *,
    derived_only: bool = False,
) -> int:
    """Delete the blobs that nobody needs, of some documents or of all, and say how many those were.

    ``derived_only``: not what was submitted, which other generations share.

    Raises `BlobsUnavailable`; then the rest is found again the next time.
    """
    needless = [
        (row["tenant_id"], row["blob_key"])
        async for row in _queries.needless(
            pool,
            tenant_ids=None if of is None else [tenant_id for tenant_id, _ in of],
            document_ids=None if of is None else [document_id for _, document_id in of],
            derived_only=derived_only,
            limit=SWEPT_BLOBS_MAX,
        )
    ]
    for owner, blob_key in needless:
        await blobs.delete([blob_key])
        await _queries.forget_blob(pool, tenant_id=owner, blob_key=blob_key)
    return len(needless)
