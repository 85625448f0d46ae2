"""Chunk rows: stored once, however often they come, and read of the visible revision alone."""

import numpy as np

from db import chunks, documents
from db.pool import Pool
from db.search import Mode, search
from schemas.events import SearchFilters
from tests.db.rows import EMBEDDER, batch, publish, vector


async def rows(pool: Pool, tenant: str) -> list[tuple[int, int, str]]:
    found = await pool.fetch(
        "SELECT revision, ordinal, text FROM document_chunks WHERE tenant_id = $1 ORDER BY 1, 2", tenant
    )
    return [tuple(row) for row in found]


async def test_a_batch_that_comes_again_replaces_itself_alone(pool: Pool, tenant: str) -> None:
    first = batch(tenant, "d", 5, ["a", "b"], total=4)
    second = batch(tenant, "d", 5, ["c", "d"], first=2)
    two = np.stack([vector(1), vector(0, 1)])
    async with pool.acquire() as connection:
        for each in (first, second, second, first):
            await chunks.store(connection, each, two)
        assert await chunks.count(connection, tenant, "d", 5) == 4
    assert await rows(pool, tenant) == [(5, 0, "a"), (5, 1, "b"), (5, 2, "c"), (5, 3, "d")]


async def test_what_a_longer_run_left_behind_the_end_is_trimmed(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection:
        await chunks.store(connection, batch(tenant, "d", 5, ["a", "b"], total=2), np.stack([vector(1), vector(0, 1)]))
        await chunks.trim(connection, tenant, "d", 5, 1)
    assert await rows(pool, tenant) == [(5, 0, "a")]


async def test_a_page_shows_the_visible_revision_alone(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 5, list("abcde"))
    async with pool.acquire() as connection:
        await chunks.store(connection, batch(tenant, "d", 6, ["new"], total=2), np.stack([vector(1)]))
    pages, after = [], -1
    while found := await chunks.page(pool, tenant, "d", after=after, limit=2):
        pages.append("".join(row["text"] for row in found))
        after = found[-1]["ordinal"]
    assert pages == ["ab", "cd", "e"]
    async with pool.acquire() as connection:
        await documents.bury(connection, tenant, "d", 7)
    assert await chunks.page(pool, tenant, "d", after=-1, limit=9) == []


async def test_a_range_of_revisions_goes(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection:
        for revision in (4, 5, 6, 7):
            await chunks.store(connection, batch(tenant, "d", revision, ["x"]), np.stack([vector(1)]))
        await chunks.store(connection, batch(tenant, "other", 5, ["x"]), np.stack([vector(1)]))
        await chunks.delete_revisions(connection, tenant, "d", lowest=5, highest=6)
    assert [revision for revision, _, _ in await rows(pool, tenant)] == [4, 5, 7]


async def test_vectors_are_known_by_content_within_a_tenant_and_an_embedder(pool: Pool, tenant: str) -> None:
    made = batch(tenant, "d", 5, ["a", "b"])
    async with pool.acquire() as connection:
        await chunks.store(connection, made, np.stack([vector(1), vector(0.6, 0.8)]))
    hashes = [chunk.content_hash for chunk in made.chunks]
    known = await chunks.known_embeddings(pool, tenant, EMBEDDER, [*hashes, "0" * 32])
    assert known.keys() == set(hashes)
    assert np.array_equal(known[hashes[1]], vector(0.6, 0.8))
    assert await chunks.known_embeddings(pool, f"{tenant}-2", EMBEDDER, hashes) == {}
    assert await chunks.known_embeddings(pool, tenant, "another", hashes) == {}


async def test_a_chunk_keeps_its_id_where_its_text_did_not_change(pool: Pool, tenant: str) -> None:
    async def ids() -> list[str]:
        return [row["chunk_id"] for row in await chunks.page(pool, tenant, "d", after=-1, limit=9)]

    await publish(pool, tenant, "d", 5, ["a", "b", "a"])
    before = await ids()
    assert len(set(before)) == 3
    await publish(pool, tenant, "d", 6, ["new", "a", "b", "changed", "a"])
    after = await ids()
    assert [after[1], after[2], after[4]] == before
    assert len(set(after)) == 5
    hits = await search(pool, tenant, "changed", vector(1), EMBEDDER, mode=Mode.TEXT, filters=SearchFilters(), limit=1)
    assert [hit["chunk_id"] for hit in hits] == [after[3]]
