"""`segments`: a generation's vectors, sealed, indexed and merged as a log-structured merge tree.

`migrations/0002-segments.sql` says what a segment is, and what those who search and those who add vectors do.
"""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from db.pool import Connection, Pool
from db.queries import load

_queries = load("segments")

SEALED_BYTES = 10 * 2**20
"""16,000 vectors of 256 dimensions, which a search compares in 2 to 4 ms."""
GRAPH_BYTES = 80 * 2**20
"""So much is compared whole in 20 to 30 ms; a graph of it finds nine of ten in 7 ms, of questions unlike the texts."""
FANOUT = 8
"""So many graphs become one. Several small ones find more than a large one, and to build it takes as long again."""
RETIRED = timedelta(seconds=120)
"""Longer than any statement may take that began before."""
WRITERS_WAIT_MS = 500
"""Sealing waits for the transactions that add vectors, and holds up others meanwhile; else it is tried again later."""


async def tend(pool: Pool) -> bool:
    """Count, seal, merge or drop, whichever is most urgent; false where nothing is due, or somebody else is at it."""
    async with pool.acquire() as connection, connection.transaction():
        if not await _queries.claim(connection):
            return False
        if number := await _queries.uncounted(connection):
            await _queries.count(connection, number=number)
        elif number := await _queries.full(connection, sealed_bytes=SEALED_BYTES):
            return await _seal(connection, number)
        elif numbers := await _mergeable(connection):
            await _queries.merge(connection, numbers=numbers, graph_bytes=GRAPH_BYTES)
        elif number := await _queries.outdated(connection, grace=RETIRED):
            await _queries.drop(connection, number=number)
        else:
            return False
        return True


async def rewrite_wasteful(pool: Pool) -> bool:
    """Rewrite a segment where more vectors are of old revisions than not; false where there is none."""
    async with pool.acquire() as connection, connection.transaction():
        if not await _queries.claim(connection) or not (numbers := await _queries.wasteful(connection)):
            return False
        await _queries.merge(connection, numbers=numbers, graph_bytes=GRAPH_BYTES)
        return True


async def merge_pending_words(pool: Pool) -> None:
    """Spare searches what the text index took lately and has not sorted in; autovacuum does it, but seldom."""
    await _queries.merge_pending_words(pool)


async def backlog(pool: Pool) -> int:
    """How many segments wait for being sealed, counted or merged."""
    async with pool.acquire() as connection:
        waiting: int = await _queries.backlog(connection, sealed_bytes=SEALED_BYTES)
        return waiting + len(await _mergeable(connection))


async def _mergeable(connection: Connection) -> Sequence[int]:
    return await _queries.mergeable(connection, fanout=FANOUT, graph_bytes=GRAPH_BYTES) or ()


async def _seal(connection: Connection, number: int) -> bool:
    await _queries.patience(connection, milliseconds=WRITERS_WAIT_MS)
    try:
        async with connection.transaction():
            await _queries.seal(connection, number=number)
    except asyncpg.LockNotAvailableError:
        return False
    return True
