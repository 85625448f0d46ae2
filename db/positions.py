"""`stream_epochs`, which numbers the logs, and the wait until the tables show a write."""

import asyncio
from collections.abc import Collection

from db.errors import PositionNotReached
from db.pool import Connection, Pool
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


async def advance(
    connection: Connection, *, tenant_id: str, group: str, topic: str, partition: int, position: int
) -> bool:
    """Move a position forward inside the caller's transaction; false where it was reached before."""
    moved = await _queries.advance(
        connection, tenant_id=tenant_id, consumer_group=group, topic=topic, partition=partition, position=position
    )
    return bool(moved)


async def wait_until_settled(
    pool: Pool, tenant_id: str, place: Position, states: Collection[str], timeout_s: float
) -> None:
    """Return once a write is in one of these states, or a newer one of its document is.

    Raises `PositionNotReached` after ``timeout_s``; one look is always taken.
    """
    pause_s = POLL_FIRST_S
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await _settled(pool, tenant_id, place, states):
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise PositionNotReached(f"Waited {timeout_s:g} s.")
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(POLL_GROWTH * pause_s, POLL_MAX_S)


async def _settled(pool: Pool, tenant_id: str, place: Position, states: Collection[str]) -> bool:
    return bool(
        await _queries.settled(
            pool,
            tenant_id=tenant_id,
            document_id=place.document_id,
            position=place.position,
            states=list(states),
        )
    )
