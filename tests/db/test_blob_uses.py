"""Uses of blobs: one that waited for a document's lock sees what was done under it."""

import asyncio

import pytest

from db import blob_uses, processing
from db.blob_uses import Use
from db.pool import Pool
from schemas.events import BlobContent, DocumentSubmitted
from tests.conditions import eventually
from tests.db.rows import publish, publish_in


async def is_waiting(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


@pytest.mark.parametrize("before", [None, 4])
async def test_what_waited_for_the_lock_sees_what_was_done_under_it(
    pool: Pool, tenant: str, before: int | None
) -> None:
    if before:
        await publish(pool, tenant, "d", before, ["a"])
    text, original = (Use(tenant, "d", 5, f"{tenant}/{kind}", kind == "text") for kind in ("text", "original"))
    content = BlobContent(key=original.blob_key, size_bytes=1)
    submission = DocumentSubmitted(tenant_id=tenant, document_id="d", media_type="text/plain", content=content)
    async with pool.acquire() as connection, connection.transaction():
        await publish_in(connection, tenant, "d", 5, ["a"])
        begun = asyncio.create_task(blob_uses.begin(pool, [text]))
        await eventually(lambda: is_waiting(pool))
        run = asyncio.create_task(processing.begin_runs(pool, [processing.Submission(5, submission)]))
    assert await begun == [False]
    [known] = await run
    assert (known.number, known.is_news, known.is_wanted) == (1, False, False)
    assert await blob_uses.needed(pool, [(tenant, text.blob_key), (tenant, original.blob_key)]) == [False, True]


async def test_each_use_is_answered_for_itself(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "gone", 6, ["a"])
    uses = [Use(tenant, document_id, 5, f"{tenant}/{document_id}", derived=True) for document_id in ("z", "gone", "a")]
    assert await blob_uses.begin(pool, uses) == [True, False, True]
    assert await blob_uses.needed(pool, [use[::3] for use in uses]) == [True, False, True]
