"""Search over the visible chunks: what is found, what is not, and that no words break it."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from db import chunks, documents
from db.pool import Pool
from db.search import Mode, search
from schemas.events import Place, SearchFilters
from tests.db.rows import EMBEDDER, batch, publish, vector

SLOW_FIXTURES = [HealthCheck.function_scoped_fixture]
storable = st.characters(exclude_categories=["Cs", "Cc"])


async def find(
    pool: Pool,
    tenant: str,
    text: str,
    embedding: NDArray[np.float16] | None = None,
    *,
    mode: Mode = Mode.HYBRID,
    limit: int = 10,
    offset: int = 0,
    hits_per_document: int | None = None,
    **filters: Any,
) -> Sequence[asyncpg.Record]:
    return await search(
        pool,
        tenant,
        text,
        vector(1) if embedding is None else embedding,
        EMBEDDER,
        mode=mode,
        filters=SearchFilters(**filters),
        limit=limit,
        offset=offset,
        hits_per_document=hits_per_document,
    )


def places(rows: Sequence[asyncpg.Record]) -> list[str]:
    return [f"{row['document_id']}{row['ordinal']}" for row in rows]


@pytest.fixture
async def library(pool: Pool, tenant: str) -> str:
    """Three documents that differ in everything that can be filtered by."""
    await publish(
        pool,
        tenant,
        "a",
        1,
        ["The pump hums.", "Oil the bearing of the pump."],
        vectors=[vector(1), vector(0.9, 0.1)],
        collection="manuals",
        tags=("wet", "old"),
        metadata={"machine": "P-7", "sizes": [1, 2]},
    )
    await publish(
        pool,
        tenant,
        "b",
        2,
        ["A valve leaks."],
        vectors=[vector(0, 1)],
        collection="incidents",
        tags=("wet",),
        media_type="text/markdown",
        metadata={"machine": "V-1"},
    )
    await publish(pool, tenant, "c", 3, ["The pump of the mill."], vectors=[vector(0, 0, 1)], tags=("old",))
    return tenant


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abc"),
        ({"document_ids": ["b", "c", "nobody"]}, "bc"),
        ({"collection": "manuals"}, "a"),
        ({"tags": ["wet"]}, "ab"),
        ({"tags": ["wet", "old"]}, "a"),
        ({"media_types": ["text/markdown", "text/html"]}, "b"),
        ({"metadata": {"machine": "P-7"}}, "a"),
        ({"metadata": {"sizes": [2]}}, "a"),
        ({"metadata": {"machine": "X"}}, ""),
        ({"tags": ["wet"], "collection": "incidents", "metadata": {}}, "b"),
        ({"collection": "'; DROP TABLE documents; --"}, ""),
    ],
)
@pytest.mark.parametrize("mode", Mode)
async def test_each_filter(pool: Pool, library: str, filters: dict[str, Any], found: str, mode: Mode) -> None:
    rows = await find(pool, library, "pump valve", mode=mode, **filters)
    assert {row["document_id"] for row in rows} == set(found)


async def test_each_mode_ranks_by_its_own(pool: Pool, library: str) -> None:
    by_text = await find(pool, library, "leaks", mode=Mode.TEXT)
    assert places(by_text) == ["b0"]
    assert [(row["vector_rank"], row["text_rank"]) for row in by_text] == [(None, 1)]
    by_vector = await find(pool, library, "leaks", mode=Mode.VECTOR)
    assert places(by_vector)[:2] == ["a0", "a1"]
    assert {row["text_rank"] for row in by_vector} == {None}
    fused = await find(pool, library, "leaks", mode=Mode.HYBRID)
    assert fused[0]["document_id"] == "b"
    ranks = [(row["vector_rank"], row["text_rank"]) for row in fused]
    scores = [sum(1 / (60 + rank) for rank in pair if rank) for pair in ranks]
    assert [row["score"] for row in fused] == pytest.approx(scores, abs=1e-6)
    assert scores == sorted(scores, reverse=True)


async def test_a_hit_tells_where_in_it_other_pages_begin(pool: Pool, tenant: str) -> None:
    made = batch(tenant, "d", 1, ["A mill. A pump."])
    places = (Place(start=8, page=2, heading_path=("Pumps", "Small")), Place(start=10))
    across = made.model_copy(update={"chunks": (made.chunks[0].model_copy(update={"page": 1, "places": places}),)})
    async with pool.acquire() as connection:
        await documents.apply(connection, {(tenant, "d"): 1})
        await chunks.store(connection, [(across, np.stack([vector(1)]))])
        await documents.publish(connection, [made])
    [row] = await find(pool, tenant, "pump")
    assert row["page"] == 1
    assert tuple(map(Place.model_validate, row["places"])) == places


async def test_words_of_the_headings_are_found(pool: Pool, tenant: str) -> None:
    made = batch(tenant, "d", 1, ["Do it."])
    with_heading = made.model_copy(
        update={"chunks": (made.chunks[0].model_copy(update={"heading_path": ("Winter", "Defrosting")}),)}
    )
    async with pool.acquire() as connection:
        await documents.apply(connection, {(tenant, "d"): 1})
        await chunks.store(connection, [(with_heading, np.stack([vector(1)]))])
        await documents.publish(connection, [made])
    assert places(await find(pool, tenant, "how to defrost", mode=Mode.TEXT)) == ["d0"]


async def test_a_rare_word_outweighs_those_that_are_everywhere(pool: Pool, tenant: str) -> None:
    texts = [f"Survey sheet {number}." for number in range(1_200)]
    texts += ["It is noisy after 777 hours."] * 50
    await publish(pool, tenant, "a", 1, texts, vectors=[vector(1)] * 300 + [vector(0, 1)] * 950)
    [best, *_] = await find(pool, tenant, "survey sheet 777", mode=Mode.TEXT)
    assert best["text"] == "Survey sheet 777."
    # It is not near, as those are that have other numbers.
    [best, *_] = await find(pool, tenant, "survey sheet 777", vector(1), mode=Mode.HYBRID)
    assert (best["text"], best["vector_rank"]) == ("Survey sheet 777.", None)


async def test_a_word_is_looked_up_and_not_sought_in_each_chunk(alone: Pool) -> None:
    """Also when nothing has analyzed the table, and what came last is not in its place in the text index."""
    texts = [" ".join(f"word{number * place}" for place in range(1, 80)) for number in range(2_000)]
    await publish(alone, "t", "a", 1, [*texts, "A weir."])
    before = await _chunks_read(alone)
    assert places(await find(alone, "t", "the weir", mode=Mode.TEXT)) == ["a2000"]
    assert await _chunks_read(alone) - before < 10


async def _chunks_read(pool: Pool) -> int:
    """How many rows of chunks were fetched; nothing runs side by side here, so one connection did it all."""
    await pool.execute("SELECT pg_stat_force_next_flush()")
    return int(
        await pool.fetchval(
            "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables JOIN pg_inherits ON inhrelid = relid "
            "WHERE inhparent = 'document_chunks'::regclass"
        )
    )


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("hits_per_document", [None, 2])
async def test_pages_join_without_doubles_or_gaps(
    pool: Pool, tenant: str, mode: Mode, hits_per_document: int | None
) -> None:
    # All alike, so that nothing but the tie-breaker tells them apart.
    for document in "abcde":
        await publish(pool, tenant, document, 1, ["The same words of a mill."] * 5)
    whole = places(await find(pool, tenant, "mill", mode=mode, limit=100, hits_per_document=hits_per_document))
    assert len(set(whole)) == len(whole) == (25 if hits_per_document is None else 10)
    for size in (1, 3, 7):
        paged: list[str] = []
        while page := await find(
            pool, tenant, "mill", mode=mode, limit=size, offset=len(paged), hits_per_document=hits_per_document
        ):
            paged += places(page)
        assert paged == whole


async def test_a_long_document_does_not_crowd_the_others_out(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "long", 1, ["mill mill"] * 20)
    await publish(pool, tenant, "short", 1, ["One mill among many other words that stand here."])
    assert "short0" not in places(await find(pool, tenant, "mill", limit=5, mode=Mode.TEXT))
    assert places(await find(pool, tenant, "mill", limit=5, mode=Mode.TEXT, hits_per_document=1)) == ["long0", "short0"]


async def test_only_the_visible_revision_is_seen(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 1, ["An old mill."])
    async with pool.acquire() as connection:
        part = batch(tenant, "d", 2, ["A new mill."], total=2)
        await chunks.take(connection, [part])
        await chunks.store(connection, [(part, np.stack([vector(1)]))])
    for mode in Mode:
        assert [row["text"] for row in await find(pool, tenant, "mill", mode=mode)] == ["An old mill."]
    await publish(pool, tenant, "d", 2, ["A new mill."])
    for mode in Mode:
        assert [row["text"] for row in await find(pool, tenant, "mill", mode=mode)] == ["A new mill."]


async def test_what_was_deleted_is_not_seen(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 1, ["A mill."])
    async with pool.acquire() as connection:
        await documents.bury(connection, tenant, "d", 2)
    for mode in Mode:
        assert not await find(pool, tenant, "mill", mode=mode)


async def test_tenants_do_not_meet(pool: Pool, library: str) -> None:
    other = f"{library}-2"
    await publish(pool, other, "a", 1, ["The pump of somebody else."])
    for mode in Mode:
        assert {row["text"] for row in await find(pool, other, "pump", mode=mode)} == {"The pump of somebody else."}
        assert "The pump of somebody else." not in {row["text"] for row in await find(pool, library, "pump", mode=mode)}
        assert not await find(pool, f"{library}-3", "pump", mode=mode)


async def test_vectors_of_another_embedder_do_not_count(pool: Pool, library: str) -> None:
    wide = np.ones(7, np.float16)
    for mode, expected in ((Mode.VECTOR, set()), (Mode.HYBRID, {"a", "c"})):
        rows = await search(pool, library, "pump", wide, "another", mode=mode, filters=SearchFilters(), limit=10)
        assert {row["document_id"] for row in rows} == expected


@pytest.mark.parametrize("text", ["the of and", "?!", "   ", "''", ":*", "\u3000", "<b>"])
async def test_a_query_without_words_still_has_a_vector(pool: Pool, library: str, text: str) -> None:
    assert places(await find(pool, library, text))[:1] == ["a0"]
    assert not await find(pool, library, text, mode=Mode.TEXT)


@given(st.text(storable, max_size=60) | st.text(st.sampled_from("ab'\"\\&|!:*()<->@/.%_$\t \n-é"), max_size=40))
@example(r"file://c:\temp\it's http://a.b/it's?x='&y=\ a@b.c\'d -1e5 a_b-c/d'")
@example("'':* & !x | y <-> z")
@example(r"\\ ' \' E'\\x' $$")
@example("/usr/lo'cal/b\\in/x'y")
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_FIXTURES)
async def test_no_text_breaks_a_search(pool: Pool, text: str) -> None:
    await find(pool, "nobody", text)


async def test_a_hit_comes_with_the_words_of_the_query(pool: Pool, library: str) -> None:
    [row] = await find(pool, library, "of pumps BEARINGS", mode=Mode.TEXT, document_ids=["a"], limit=1)
    assert row["words"] == ["pumps", "BEARINGS"]
