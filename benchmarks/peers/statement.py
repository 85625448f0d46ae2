"""Search by one SQL statement over asyncpg, as the documentation of those has it that have no search of their own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import numpy as np
from numpy.typing import DTypeLike
from pgvector.asyncpg import register_vector

from benchmarks.peers.door import HITS, Job, WordLlama


class StatementSearcher:
    """The nearest by the column ``embedding``, with a filter where one is asked for."""

    def __init__(self, pool: asyncpg.Pool, collection: str | None, text: str, source: str, vectors: DTypeLike) -> None:
        self._pool = pool
        self._wordllama = WordLlama()
        self._vectors = vectors
        where = "" if collection is None else "WHERE collection = $3"
        self._statement = (
            f'SELECT "{text}", embedding <=> $1 AS distance FROM "{source}" {where} ORDER BY distance LIMIT $2'
        )
        self._given = [] if collection is None else [collection]

    async def search(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        (vector,) = self._wordllama.embed([question]).astype(self._vectors)
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(self._statement, vector, HITS, *self._given)
        return [row[0] for row in rows]

    nearest = search


@asynccontextmanager
async def open_statement(
    job: Job, *, text: str, source: str, vectors: DTypeLike = np.float32
) -> AsyncIterator[StatementSearcher]:
    """On a pool that keeps its connections. ``text`` is a column of ``source``; ``vectors``: the column's numbers."""
    async with asyncpg.create_pool(job.dsn, min_size=1, max_size=32, init=register_vector) as pool:
        yield StatementSearcher(pool, job.collection, text, source, vectors)
