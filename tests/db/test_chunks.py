"""Chunk rows: stored once, however often they come, and read of the visible revision alone."""

import numpy as np

from db import chunks, documents
from db.chunks import Verdict
from db.pool import Pool
from db.search import Mode, search
from schemas.events import DocumentEmbedded, SearchFilters
from tests.db.rows import EMBEDDER, batch, publish, vector


async def rows(pool: Pool, tenant: str) -> list[tuple[int, int, str]]:
    found = await pool.fetch(
        "SELECT revision, ordinal, text FROM document_chunks WHERE tenant_id = $1 ORDER BY 1, 2", tenant
    )
    return [tuple(row) for row in found]


async def take(pool: Pool, *batches: DocumentEmbedded) -> list[Verdict]:
    """Store what is to be stored of batches, one after the other, as the index stage does it."""
    verdicts = []
    for each in batches:
        async with pool.acquire() as connection, connection.transaction():
            [verdict] = (await chunks.take(connection, [each])).values()
            verdicts.append(verdict)
            if verdict is Verdict.STORE:
                await chunks.store(connection, [(each, np.stack([vector(1)] * len(each.chunks)))])
    return verdicts


async def test_a_batch_that_comes_again_replaces_itself_alone(pool: Pool, tenant: str) -> None:
    first = batch(tenant, "d", 5, ["a", "b"], total=4)
    second = batch(tenant, "d", 5, ["c", "d"], first=2)
    assert await take(pool, first, second, second, first) == [Verdict.STORE] * 4
    assert await rows(pool, tenant) == [(5, 0, "a"), (5, 1, "b"), (5, 2, "c"), (5, 3, "d")]


async def test_the_newest_run_that_has_begun_is_stored(pool: Pool, tenant: str) -> None:
    first = batch(tenant, "d", 5, ["a", "b", "c"], total=5, run=2)
    newer = batch(tenant, "d", 5, ["A", "B"], total=4, run=3)
    rest = batch(tenant, "d", 5, ["C", "D"], first=2, run=3)
    assert await take(pool, rest, first, newer) == [Verdict.MISS, Verdict.STORE, Verdict.STORE]
    assert await rows(pool, tenant) == [(5, 0, "A"), (5, 1, "B")]
    assert await take(pool, first, rest) == [Verdict.SKIP, Verdict.STORE]
    assert [text for _, _, text in await rows(pool, tenant)] == list("ABCD")


async def test_of_several_documents_each_gets_its_own_verdict(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "seen", 6, ["x"])
    given = [
        batch(tenant, "d", 5, ["a"], run=2),
        batch(tenant, "missing", 5, ["b"], first=1, total=2),
        batch(tenant, "seen", 5, ["y"]),
    ]
    async with pool.acquire() as connection:
        verdicts = await chunks.take(connection, given)
    assert [verdicts[tenant, each.document_id] for each in given] == [Verdict.STORE, Verdict.MISS, Verdict.SKIP]


async def test_a_revision_is_published_whole_or_not_at_all(pool: Pool, tenant: str) -> None:
    whole, part = batch(tenant, "whole", 5, ["a"]), batch(tenant, "part", 5, ["a"], total=2)
    async with pool.acquire() as connection, connection.transaction():
        await documents.apply(connection, {(tenant, "whole"): 1, (tenant, "part"): 1})
        await chunks.store(connection, [(each, np.stack([vector(1)])) for each in (whole, part)])
        published = await documents.publish(connection, [whole, part])
    assert {document_id: made.stored for (_, document_id), made in published.items()} == {"whole": 1, "part": 1}
    assert [row["ordinal"] for row in await chunks.page(pool, tenant, "whole", after=-1, limit=9)] == [0]
    assert await chunks.page(pool, tenant, "part", after=-1, limit=9) == []


async def test_a_page_shows_the_visible_revision_alone(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 5, list("abcde"))
    async with pool.acquire() as connection:
        await chunks.store(connection, [(batch(tenant, "d", 6, ["new"], total=2), np.stack([vector(1)]))])
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
            await chunks.store(connection, [(batch(tenant, "d", revision, ["x"]), np.stack([vector(1)]))])
        await chunks.store(connection, [(batch(tenant, "other", 5, ["x"]), np.stack([vector(1)]))])
        await chunks.delete_revisions(connection, tenant, "d", lowest=5, highest=6)
    assert [revision for revision, _, _ in await rows(pool, tenant)] == [4, 5, 7]


async def test_vectors_are_known_by_content_within_a_tenant_and_an_embedder(pool: Pool, tenant: str) -> None:
    made = batch(tenant, "d", 5, ["a", "b"])
    async with pool.acquire() as connection:
        await chunks.store(connection, [(made, np.stack([vector(1), vector(0.6, 0.8)]))])
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
