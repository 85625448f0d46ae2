"""The months of conversations are made ahead, once, and whatever state the table is in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from db.conversations import add_message
from db.migrate import migrate
from db.partitions import MONTHS_AHEAD, ensure_months
from db.pool import DatabaseSettings, Pool, close, connect


@pytest.fixture
async def scratch(empty_database: DatabaseSettings) -> AsyncIterator[Pool]:
    """A migrated database of its own."""
    await asyncio.to_thread(migrate, empty_database)
    pool = await connect(empty_database)
    yield pool
    await close(pool)


async def months(pool: Pool) -> set[str]:
    rows = await pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'conversation_messages'::regclass"
    )
    return {row["name"].removeprefix("conversation_messages_") for row in rows} - {"default"}


def expected() -> set[str]:
    month = datetime.now(UTC).year * 12 + datetime.now(UTC).month - 1
    return {f"{each // 12:04}_{each % 12 + 1:02}" for each in range(month, month + MONTHS_AHEAD + 1)}


async def ask(pool: Pool, at: datetime) -> None:
    async with pool.acquire() as connection:
        await add_message(
            connection,
            tenant_id="t",
            conversation_id="c",
            request_id=f"{at:%Y%m%d}",
            role="user",
            text="When?",
            citations=[],
            at=at,
        )


async def test_this_month_and_the_next_are_made_once(scratch: Pool) -> None:
    async with scratch.acquire() as connection:
        await ensure_months(connection)
        await ensure_months(connection)
    assert await months(scratch) == expected()


async def test_several_may_make_them_at_once(scratch: Pool) -> None:
    async def make() -> None:
        async with scratch.acquire() as connection:
            await ensure_months(connection)

    await asyncio.gather(*(make() for _ in range(4)))
    assert await months(scratch) == expected()


async def test_what_came_before_its_month_was_made_moves_into_it(scratch: Pool) -> None:
    now = datetime.now(UTC)
    long_ago = now - timedelta(days=400)
    await ask(scratch, now)
    await ask(scratch, long_ago)
    async with scratch.acquire() as connection:
        await ensure_months(connection)
    assert await months(scratch) == expected()
    placed = await scratch.fetch("SELECT tableoid::regclass::text AS place, created_at FROM conversation_messages")
    assert {row["created_at"]: row["place"] for row in placed} == {
        now: f"conversation_messages_{now:%Y_%m}",
        long_ago: "conversation_messages_default",
    }


async def test_a_new_month_has_the_rules_of_the_table(scratch: Pool) -> None:
    async with scratch.acquire() as connection:
        await ensure_months(connection)
    await ask(scratch, datetime.now(UTC))
    with pytest.raises(asyncpg.CheckViolationError):
        await scratch.execute("UPDATE conversation_messages SET role = 'somebody'")
