"""`stream_positions` and `stream_epochs`: how far the effects of the streams reach."""

import asyncio

from db.errors import PositionNotReached
from db.pool import Connection, Pool
from db.queries import load
from schemas.position import Position
from schemas.topics import GROUP_OF_STAGE, SUBMITTED

_queries = load("positions")

INDEX_GROUP, _ = GROUP_OF_STAGE["index"]
"""The consumer group whose effects make a document searchable."""
POLL_FIRST_S, POLL_GROWTH, POLL_MAX_S = 0.005, 1.25, 0.05
"""Mostly a client waits for milliseconds: pauses grow with the wait, so that they add little to a short one, and a
long one costs 20 indexed point reads a second, not 200."""


async def epoch_of(pool: Pool, cluster_id: str) -> int:
    """The number of a Kafka cluster, in the order in which this database first saw them."""
    async with pool.acquire() as connection, connection.transaction():
        await _queries.lock_epochs(connection)  # or two new clusters, seen at once, would get one number
        return int(await _queries.epoch_of(connection, cluster_id=cluster_id))


async def advance(
    connection: Connection, *, tenant_id: str, group: str, topic: str, partition: int, position: int
) -> bool:
    """Move a position forward inside the caller's transaction; false where it was reached before."""
    moved = await _queries.advance(
        connection, tenant_id=tenant_id, consumer_group=group, topic=topic, partition=partition, position=position
    )
    return bool(moved)


async def wait_until_indexed(pool: Pool, tenant_id: str, place: Position, timeout_s: float) -> None:
    """Return once the tables show everything up to a submission. Raises `PositionNotReached` after ``timeout_s``."""
    pause_s = POLL_FIRST_S
    try:
        async with asyncio.timeout(timeout_s) as limit:
            while not await _indexed(pool, tenant_id, place):
                await asyncio.sleep(pause_s)
                pause_s = min(POLL_GROWTH * pause_s, POLL_MAX_S)
    except TimeoutError:
        if not limit.expired():  # it was the pool that had no connection
            raise
        raise PositionNotReached(f"Waited {timeout_s:g} s.") from None


async def _indexed(pool: Pool, tenant_id: str, place: Position) -> bool:
    reached = await _queries.reached(
        pool, tenant_id=tenant_id, consumer_group=INDEX_GROUP, topic=SUBMITTED.name, partition=place.partition
    )
    return reached is not None and int(reached) >= place.position
