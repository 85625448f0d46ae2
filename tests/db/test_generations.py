"""Generations: one is live at a time, nothing that was seen is missing after a swap, and readers read from one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from db import dead_letters, documents, generations, succession
from db.blobs import Blobs, BlobSettings
from db.dead_letters import Letter, LetterState
from db.errors import BlobMissing, GenerationBehind, GenerationMissing
from db.generations import Generation, GenerationState, Standing
from db.live import Live
from db.migrate import migrate
from db.pool import DatabaseSettings, Pool, close, connect
from schemas.events import Failure, now
from schemas.topics import CHAT_REQUESTED, SUBMITTED
from tests.conditions import eventually
from tests.db.rows import publish

TENANT = "t"

Opened = Callable[[int], Awaitable[Pool]]


@pytest.fixture
async def opened(empty_database: DatabaseSettings) -> AsyncIterator[Opened]:
    """Pools of generations in a database of the test's own."""
    await asyncio.to_thread(migrate, empty_database)
    pools: list[Pool] = []

    async def of(generation: int) -> Pool:
        pools.append(await connect(empty_database, generation))
        return pools[-1]

    yield of
    for pool in pools:
        await close(pool)


async def build(pool: Pool, **chunker: int) -> int:
    """A second generation with its tables, as `millrace.reindex` makes one."""
    number = await generations.announce(pool, {"kind": "onnx"}, chunker)
    await generations.create_tables(pool, number)
    await generations.begin(pool, number)
    return number


async def settle(pool: Pool, document_id: str, position: int) -> None:
    """What the index stage does with a submission at this position."""
    await publish(pool, TENANT, document_id, position, ["A mill."])
    async with pool.acquire() as connection:
        await documents.settle(connection, TENANT, document_id, position)


def letter(position: int, *, topic: str = SUBMITTED.name, document_id: str | None = None) -> Letter:
    return Letter(
        tenant_id=TENANT,
        topic=topic,
        partition=0,
        position=position,
        key=None,
        value=b"{}",
        headers=[],
        written_at=now(),
        failure=Failure(type="t", message="m", stage="parse"),
        document_id=document_id,
        revision=position if document_id else None,
    )


async def test_a_new_one_has_the_tables_of_the_first_and_keeps_its_settings(opened: Opened) -> None:
    pool = await opened(1)
    number = await build(pool, tokens_max=64)
    made = await generations.get(pool, number)
    assert (made.state, made.embedder, made.chunker) == ("building", {"kind": "onnx"}, {"tokens_max": 64})
    columns = [
        await pool.fetch(
            "SELECT table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns "
            "WHERE table_schema = $1 ORDER BY table_name, ordinal_position",
            f"g{each}",
        )
        for each in (1, number)
    ]
    assert columns[0]
    assert columns[0] == columns[1]


async def test_swapping_and_going_back(opened: Opened) -> None:
    pool = await opened(1)
    number = await build(pool)
    assert (await generations.swap(pool, number)).number == 1
    assert (await generations.live(pool)).number == number
    assert (await generations.swap(pool, number)).number == number  # changes nothing
    assert (await generations.previous(pool)).number == 1
    await generations.swap(pool, 1)
    assert [each.state for each in await generations.listed(pool)] == ["live", "kept"]


async def test_no_swap_to_what_is_not_there_or_behind(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "SWAP_WAIT_S", 0.2)
    pool = await opened(1)
    for number in (1, 7):
        with pytest.raises(GenerationMissing):
            await generations.abandon(pool, number)
    with pytest.raises(GenerationMissing):
        await generations.swap(pool, 7)
    with pytest.raises(GenerationMissing):
        await generations.previous(pool)
    number = await build(pool)
    await settle(pool, "d", 5)
    with pytest.raises(GenerationBehind, match="1 documents"):
        await generations.swap(pool, number)
    assert (await generations.live(pool)).number == 1
    await generations.swap(pool, number, force=True)
    assert (await generations.live(pool)).number == number


async def test_a_swap_waits_for_what_was_seen_and_holds_back_what_was_not(opened: Opened) -> None:
    pool = await opened(1)
    number = await build(pool)
    other = await opened(number)
    await settle(pool, "d", 5)
    swapping = asyncio.create_task(generations.swap(pool, number))

    async def held() -> bool:
        return bool(
            await pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'documents'::regclass"
            )
        )

    await eventually(held)
    seen = asyncio.create_task(settle(pool, "e", 6))
    assert (await documents.get(pool, TENANT, "nothing")) is None  # who only reads does not wait
    assert not seen.done()
    await settle(other, "d", 5)
    await swapping
    assert (await generations.live(pool)).number == number
    await seen


async def test_letters_go_with_the_readers(opened: Opened) -> None:
    pool = await opened(1)
    number = await build(pool)
    other = await opened(number)
    question = letter(1, topic=CHAT_REQUESTED.name)
    for each in (question, letter(2), letter(3), letter(4)):
        await dead_letters.add(pool, each)
    await dead_letters.add(other, letter(2))
    await dead_letters.add(other, letter(3))
    async with pool.acquire() as connection:
        await dead_letters.close(connection, TENANT, letter(2).letter_id, LetterState.DISCARDED)
        await dead_letters.published(connection, TENANT, letter(3).letter_id)
    await generations.swap(pool, number)
    rows = {row["position"]: row for row in await other.fetch("SELECT position, state, published FROM dead_letters")}
    assert {position: row["state"] for position, row in rows.items()} == {1: "open", 2: "discarded", 3: "open"}
    assert rows[3]["published"]


async def test_what_a_generation_knows_of_its_standing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(generations, "GRACE", timedelta(seconds=0.5))
    pool = await opened(1)
    first = Standing(pool, 1)
    assert (await first.is_live(), await first.speaks(), await first.leader()) == (True, True, None)
    number = await build(pool)
    second = Standing(pool, number)
    assert (await first.leader(), await second.leader()) == (None, 1)
    assert not await second.speaks()
    await generations.swap(pool, number)
    assert (await second.is_live(), await second.speaks(), await second.leader()) == (True, True, 1)
    assert (await first.is_live(), await first.speaks(), await first.leader()) == (False, True, number)

    async def silent() -> bool:
        return not await first.speaks()

    await eventually(silent)


async def test_how_a_revision_was_settled(opened: Opened) -> None:
    pool = await opened(1)

    async def outcome(revision: int) -> asyncpg.Record | None:
        return await succession.outcome(pool, 1, TENANT, "d", revision)

    assert await outcome(5) is None
    await settle(pool, "d", 5)
    early, own = await outcome(4), await outcome(5)
    assert early
    assert own
    assert (early["superseded"], own["superseded"], own["cancelled"]) == (True, False, False)
    assert await outcome(6) is None
    assert await succession.outcome(pool, 9, TENANT, "d", 5) is None  # of a generation that is gone


async def note_use(pool: Pool, revision: int, key: str) -> None:
    await pool.execute("SELECT note_use($1, 'd', $2, $3, $4)", TENANT, revision, key, "texts" in key)


async def test_one_that_is_dropped_takes_its_blobs_along_and_no_others(opened: Opened, tmp_path: Path) -> None:
    pool = await opened(1)
    number = await build(pool)
    other = await opened(number)
    blobs = Blobs(BlobSettings(url=str(tmp_path)))
    for use, key in ((pool, "t/texts/live"), (pool, "t/originals/live"), (other, "t/texts/other")):
        await note_use(use, 5, key)
        await blobs.put(key, b"x")
    originals = [(5, "t/originals/live"), (4, "t/originals/older")]
    for revision, key in originals:
        await note_use(other, revision, key)
    await blobs.put("t/originals/older", b"x")
    await settle(pool, "d", 5)
    await generations.abandon(pool, number)
    assert await succession.delete_blobs(pool, blobs, 1, number) == 2
    await close(other)
    await generations.drop(pool, number)
    await generations.drop(pool, number)
    assert [each.number for each in await generations.listed(pool)] == [1]
    for key in ("t/texts/other", "t/originals/older"):
        with pytest.raises(BlobMissing):
            await blobs.get(key)
    for key in ("t/texts/live", "t/originals/live"):
        assert await blobs.get(key)
    assert await build(pool) > number


@dataclass
class Made:
    """Stands for an embedder."""

    generation: int
    closed: bool = False

    async def aclose(self) -> None:
        self.closed = True


async def test_readers_stay_with_their_generation_until_they_are_done(
    opened: Opened, empty_database: DatabaseSettings
) -> None:
    pool = await opened(1)
    number = await build(pool)
    made: list[Made] = []

    def make(generation: Generation) -> Made:
        made.append(Made(generation.number))
        return made[-1]

    live = Live(empty_database, pool, make)
    async with live.reading() as early:
        assert early.generation.state is GenerationState.LIVE
        await generations.swap(pool, number)
        async with live.reading() as late:
            assert (early.generation.number, late.generation.number) == (1, number)
            assert await late.pool.fetchval("SELECT 'documents'::regclass::oid") == await pool.fetchval(
                "SELECT $1::regclass::oid", f"g{number}.documents"
            )
        assert [each.closed for each in made] == [False, False]
    assert [each.closed for each in made] == [True, False]
    assert live.pool is not pool
    await live.aclose()
    assert [each.closed for each in made] == [True, True]
    with pytest.raises(asyncpg.InterfaceError):
        await late.pool.fetchval("SELECT 1")
    assert await pool.fetchval("SELECT 1") == 1


async def test_readers_go_on_while_nobody_says_which_is_live(opened: Opened, empty_database: DatabaseSettings) -> None:
    pool = await connect(empty_database.model_copy(update={"pool_size": 1}))
    live = Live(empty_database, pool, lambda generation: Made(generation.number))
    async with live.reading():
        pass
    async with pool.acquire():
        began = time.monotonic()
        async with live.reading() as reader:
            assert reader.generation.number == 1
        assert time.monotonic() - began < 5
    await live.aclose()
    await close(pool)
