"""Segments: whatever is sealed, indexed, merged or dropped, each visible chunk is found, and once."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from db import documents, segments
from db.pool import Pool
from schemas.events import SearchFilters
from tests.conditions import eventually
from tests.db.rows import DIMENSIONS, EMBEDDER, publish, publish_in

EACH = 2_300
"""Vectors of each of twenty documents: enough that to follow their graph is quicker than to compare all."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that are full with their first page, and merged in pairs."""
    monkeypatch.setattr(segments, "SEALED_BYTES", 8_192)
    monkeypatch.setattr(segments, "GRAPH_BYTES", 2 * 8_192)
    monkeypatch.setattr(segments, "FANOUT", 2)


def direction(number: int) -> NDArray[np.float16]:
    """A unit vector that no other number below a million has."""
    random = np.random.default_rng(number).normal(size=DIMENSIONS)
    return (random / np.linalg.norm(random)).astype(np.float16)


async def nearest(
    pool: Pool, tenant: str, vector: NDArray[np.float16], filters: SearchFilters | None = None
) -> list[str]:
    given = filters or SearchFilters()
    rows = await pool.fetch(
        "SELECT document_id FROM nearest($1, $2, $3, 100, $4, $5, NULL, NULL, NULL)",
        tenant,
        EMBEDDER,
        vector,
        given.document_ids and list(given.document_ids),
        given.collection,
    )
    return [row["document_id"] for row in rows]


async def states(pool: Pool) -> list[str]:
    return [row["state"] for row in await pool.fetch("SELECT state FROM segments ORDER BY number")]


async def tend_all(pool: Pool) -> None:
    while await segments.tend(pool):
        pass


@pytest.mark.usefixtures("small")
async def test_readers_miss_nothing_and_see_nothing_twice_while_segments_change(alone: Pool, tenant: str) -> None:
    await publish(alone, tenant, "d0", 1, ["text"], vectors=[direction(0)])
    published = [0]
    ended = asyncio.Event()

    async def write() -> None:
        for number in range(1, 300):
            await publish(alone, tenant, f"d{number}", 1, ["text"], vectors=[direction(number)])
            published.append(number)
        ended.set()

    async def tend() -> None:
        while not ended.is_set() or await segments.backlog(alone):
            await segments.tend(alone)

    async def read() -> None:
        while not ended.is_set():
            known = published[-100:]
            found = await nearest(alone, tenant, direction(known[0]))
            assert len(found) == len(set(found))
            assert f"d{known[0]}" in found
            assert len(found) >= min(100, len(known))

    await asyncio.gather(write(), tend(), read(), read())
    await tend_all(alone)
    assert {"indexed", "retired"} <= set(await states(alone))
    for number in range(0, 300, 7):
        assert (await nearest(alone, tenant, direction(number)))[0] == f"d{number}"


@pytest.mark.usefixtures("small")
async def test_only_the_visible_revision_is_found_wherever_older_ones_lie(alone: Pool, tenant: str) -> None:
    for revision in range(1, 7):
        for number in range(60):
            await publish(alone, tenant, f"d{number}", revision, ["text"], vectors=[direction(number)])
        await tend_all(alone)
        found = await nearest(alone, tenant, direction(3))
        assert sorted(found) == sorted(f"d{number}" for number in range(60))
    async with alone.acquire() as connection:
        await documents.bury(connection, tenant, "d3", 7)
    assert "d3" not in await nearest(alone, tenant, direction(3))


@pytest.mark.usefixtures("small")
async def test_what_is_mostly_of_old_revisions_is_rewritten(alone: Pool, tenant: str) -> None:
    for revision in range(1, 5):
        for number in range(60):
            await publish(alone, tenant, f"d{number}", revision, ["text"], vectors=[direction(number)])
        await tend_all(alone)
    while await segments.rewrite_wasteful(alone):
        pass
    stored = await alone.fetchval("SELECT sum(vectors) FROM segment_tenants")
    assert stored <= 2 * 60
    assert len(await nearest(alone, tenant, direction(1))) == 60


@pytest.mark.usefixtures("small")
async def test_filters_and_tenants_hold_in_every_segment(alone: Pool, tenant: str) -> None:
    for number in range(120):
        of_whom = tenant if number % 3 else f"{tenant}-other"
        collection = "even" if number % 2 == 0 else "odd"
        await publish(alone, of_whom, f"d{number}", 1, ["text"], vectors=[direction(number)], collection=collection)
        await segments.tend(alone)
    found = await nearest(alone, tenant, direction(4), SearchFilters(collection="even"))
    assert sorted(found) == sorted(f"d{number}" for number in range(120) if number % 3 and number % 2 == 0)
    assert found[0] == "d4"
    assert await nearest(alone, tenant, direction(4), SearchFilters(document_ids=["d0", "d5"])) == ["d5"]


@pytest.mark.parametrize("graph", [True, False])
async def test_what_is_nearest_is_found(
    alone: Pool, tenant: str, monkeypatch: pytest.MonkeyPatch, *, graph: bool
) -> None:
    monkeypatch.setattr(segments, "SEALED_BYTES", 8_192)
    monkeypatch.setattr(segments, "GRAPH_BYTES", 2 * 8_192 if graph else 2**30)
    vectors = np.random.default_rng(1).normal(size=(20, EACH, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float16)
    for number, of_document in enumerate(vectors):
        collection = "even" if number % 2 == 0 else "odd"
        await publish(alone, tenant, f"d{number}", 1, ["text"] * EACH, vectors=list(of_document), collection=collection)
        if not graph:
            await tend_all(alone)
    await tend_all(alone)
    assert Counter(await states(alone)) == ({"retired": 1, "indexed": 1} if graph else {"counted": 20})

    async def recall(among: NDArray[np.float16], filters: SearchFilters | None = None) -> float:
        found = 0
        for sought in vectors[0, :20]:
            exact = np.argsort(-(among.reshape(-1, DIMENSIONS).astype(np.float32) @ sought.astype(np.float32)))[:10]
            expected = Counter(names[each // EACH] for each in exact)
            found += (Counter((await nearest(alone, tenant, sought, filters))[:10]) & expected).total()
        return found / 200

    aim = 0.95 if graph else 0.995  # which of two is nearer is within what halves can tell
    names = [f"d{number}" for number in range(20)]
    assert await recall(vectors) >= aim
    names = names[::2]
    assert await recall(vectors[::2], SearchFilters(collection="even")) >= aim
    names = [f"d{number}" for number in range(19)]
    assert await recall(vectors[:19], SearchFilters(document_ids=names)) >= aim
    names = ["d7"]
    assert await recall(vectors[7:8], SearchFilters(document_ids=["d7"])) == 1
    if graph:
        by_graph = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname ~ '^segment_.*embedding_idx$'"
        await eventually(lambda: counted(alone, by_graph, 40))


async def counted(pool: Pool, query: str, at_least: int) -> bool:
    return bool(await pool.fetchval(query) >= at_least)


@pytest.mark.usefixtures("small")
async def test_a_segment_is_not_sealed_before_those_who_add_to_it_have_committed(
    alone: Pool, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "WRITERS_WAIT_MS", 50)
    for number in range(30):
        await publish(alone, tenant, f"d{number}", 1, ["text"], vectors=[direction(number)])
    async with alone.acquire() as adding, adding.transaction():
        await publish_in(adding, tenant, "late", 1, ["text"], vectors=[direction(99)])
        assert not await segments.tend(alone)
        assert await states(alone) == ["open"]
    await tend_all(alone)
    assert "open" not in await states(alone)
    assert (await nearest(alone, tenant, direction(99)))[0] == "late"


@pytest.mark.usefixtures("small")
async def test_one_tends_at_a_time(alone: Pool, tenant: str) -> None:
    for number in range(200):
        await publish(alone, tenant, f"d{number}", 1, ["text"], vectors=[direction(number)])
    await asyncio.gather(*(tend_all(alone) for _ in range(4)))
    await tend_all(alone)
    assert await segments.backlog(alone) == 0
    assert len(await nearest(alone, tenant, direction(1))) == 100
