"""No request waits for ever: neither for a connection nor for a statement."""

import asyncpg
import pytest

from db import positions
from db.errors import OUTAGES
from db.pool import DatabaseSettings, close, connect
from schemas.events import State
from schemas.position import Position


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
            await positions.wait_until_settled(pool, tenant, Position(0, 1, "d"), State, 30)
    assert await pool.fetchval("SELECT 1") == 1
    await close(pool)


async def test_the_server_ends_a_long_statement_and_the_connection_stays(environment: dict[str, str]) -> None:
    pool = await connect(DatabaseSettings(pool_size=1, statement_timeout_s=0.2))
    before = await pool.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(asyncpg.QueryCanceledError):
        await pool.execute("SELECT pg_sleep(30)")
    assert await pool.fetchval("SELECT pg_backend_pid()") == before
    await close(pool)
