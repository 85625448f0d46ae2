"""Uses of blobs: one that waited for a document's lock sees what was done under it."""

import asyncio

import pytest

from db import blob_uses
from db.pool import Pool
from db.processing import Submission, begin_runs
from schemas.events import BlobContent, DocumentSubmitted
from tests.conditions import eventually
from tests.db.rows import publish, publish_in


async def is_waiting(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def submission(tenant: str, document_id: str, revision: int) -> Submission:
    content = BlobContent(key=f"{tenant}/original-{document_id}", size_bytes=1)
    event = DocumentSubmitted(tenant_id=tenant, document_id=document_id, media_type="text/plain", content=content)
    return Submission(revision, event, f"{tenant}/text-{document_id}")


@pytest.mark.parametrize("before", [None, 4])
async def test_what_waited_for_the_lock_sees_what_was_done_under_it(
    pool: Pool, tenant: str, before: int | None
) -> None:
    if before:
        await publish(pool, tenant, "d", before, ["a"])
    async with pool.acquire() as connection, connection.transaction():
        await publish_in(connection, tenant, "d", 5, ["a"])
        begun = asyncio.create_task(begin_runs(pool, [submission(tenant, "d", 5)]))
        await eventually(lambda: is_waiting(pool))
    [run] = await begun
    assert (run.number, run.is_news, run.is_wanted) == (1, False, False)
    blobs = [(tenant, f"{tenant}/{kind}-d") for kind in ("text", "original")]
    assert await blob_uses.needed(pool, blobs) == [False, True]


async def test_each_submission_is_answered_for_itself(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "gone", 6, ["a"])
    names = ("z", "gone", "a")
    runs = await begin_runs(pool, [submission(tenant, name, 5) for name in names])
    assert [(run.number, run.is_wanted) for run in runs] == [(1, True), (None, False), (1, True)]
    assert await blob_uses.needed(pool, [(tenant, f"{tenant}/text-{name}") for name in names]) == [True, False, True]
