"""No request waits for ever: neither for a connection nor for a statement."""

import asyncio

import asyncpg
import pytest

from db import positions
from db.errors import OUTAGES, DatabaseBusy
from db.pool import DatabaseSettings, Pool, close, connect
from schemas.position import Position
from tests.conditions import eventually


async def test_an_exhausted_pool_is_an_outage_in_time(
    environment: dict[str, str], tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.pool.ACQUIRE_TIMEOUT_S", 0.1)
    pool = await connect(DatabaseSettings(pool_size=1))
    async with pool.acquire():
        with pytest.raises(OUTAGES):
            await pool.fetchval("SELECT 1")
        # The wait for a position is not over, the database is away.
        with pytest.raises(TimeoutError):
            await positions.wait_until_settled(pool, tenant, Position(0, 1, "d"), 30)
    assert await pool.fetchval("SELECT 1") == 1
    await close(pool)


async def test_only_so_many_wait_and_the_others_are_told_at_once(environment: dict[str, str]) -> None:
    pool = await connect(DatabaseSettings(pool_size=2), waiting_max=3)
    # None of them waits for another one's connection: there is one for each.
    assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(2))) == [1, 1]
    async with pool.acquire(), pool.acquire():
        assert pool.waiting == 0
        waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
        await eventually(lambda: _waits(pool, 3))
        with pytest.raises(DatabaseBusy):
            await pool.fetchval("SELECT 1")
        with pytest.raises(DatabaseBusy):
            pool.refuse_if_busy()
    assert await asyncio.gather(*waiting) == [1] * 3
    assert await pool.fetchval("SELECT 1") == 1
    assert pool.waiting == 0
    await close(pool)


async def _waits(pool: Pool, count: int) -> bool:
    return pool.waiting == count


async def test_the_server_ends_a_long_statement_and_the_connection_stays(environment: dict[str, str]) -> None:
    pool = await connect(DatabaseSettings(pool_size=1, statement_timeout_s=0.2))
    before = await pool.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(asyncpg.QueryCanceledError):
        await pool.execute("SELECT pg_sleep(30)")
    assert await pool.fetchval("SELECT pg_backend_pid()") == before
    await close(pool)


async def test_a_connection_keeps_its_settings_when_it_is_given_back(environment: dict[str, str]) -> None:
    pool = await connect(DatabaseSettings(pool_size=1))
    for _ in range(3):
        assert await pool.fetchval("SHOW hnsw.iterative_scan") == "strict_order"
    await close(pool)
