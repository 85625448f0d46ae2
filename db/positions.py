"""`stream_epochs`, which numbers the logs, and the wait until the tables show a write."""

import asyncio
from typing import Any

from db.errors import PositionNotReached
from db.pool import Pool
from db.queries import load
from schemas.position import Position

_queries = load("positions")

POLL_FIRST_S, POLL_GROWTH, POLL_MAX_S = 0.005, 1.25, 0.05
"""Mostly a client waits for milliseconds: pauses grow with the wait, so that they add little to a short one, and a
long one costs 20 indexed point reads a second, not 200."""


async def epoch_of(pool: Pool, log_id: str) -> int:
    """The number of a log (see `schemas.log`), in the order in which this database first saw them."""
    async with pool.acquire() as connection, connection.transaction():
        await _queries.lock_epochs(connection)  # or two new logs, seen at once, would get one number
        return int(await _queries.epoch_of(connection, log_id=log_id))


async def wait_until_settled(pool: Pool, tenant_id: str, place: Position, timeout_s: float) -> None:
    """Return once a write has its outcome, and readers see it.

    Raises `PositionNotReached` after ``timeout_s``; one look is always taken.
    """
    await _until(_queries.settled, pool, tenant_id, place, timeout_s)


async def wait_until_known(pool: Pool, tenant_id: str, place: Position, timeout_s: float) -> None:
    """Return once the tables know of a write. Raises `PositionNotReached` after ``timeout_s``."""
    await _until(_queries.known, pool, tenant_id, place, timeout_s)


async def _until(query: Any, pool: Pool, tenant_id: str, place: Position, timeout_s: float) -> None:
    ids = {"tenant_id": tenant_id, "document_id": place.document_id, "position": place.position}
    pause_s = POLL_FIRST_S
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await query(pool, **ids):
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise PositionNotReached(f"Waited {timeout_s:g} s.")
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(POLL_GROWTH * pause_s, POLL_MAX_S)
