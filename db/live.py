"""What readers read: the live generation, looked up for each of their requests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import asyncpg

from db import generations
from db.errors import OUTAGES
from db.generations import Generation
from db.pool import DatabaseSettings, Pool, close, connect
from schemas.topics import FIRST_GENERATION

LOOK_TIMEOUT_S = 2
"""Where Postgres does not say in time which generation is live, it is taken for the one it was."""


class Closable(Protocol):
    """Something to be let go of."""

    async def aclose(self) -> None:
        """Let go."""


Made = TypeVar("Made", bound=Closable)


@dataclass(slots=True)
class Reader(Generic[Made]):
    """A generation's pool, and what a reader makes for it beside: its embedder."""

    generation: Generation
    pool: Pool
    made: Made
    users: int = 0


class Live(Generic[Made]):
    """Gives each request the live generation, and lets go of one that is not live once no request uses it any more.

    ``pool``: to look up with, and that of the first generation; it stays open. ``make``: what a reader needs beside a
    pool; it may take its time.
    """

    def __init__(self, settings: DatabaseSettings, pool: Pool, make: Callable[[Generation], Made]) -> None:
        self._settings = settings
        self._pool = pool
        self._make = make
        self._readers: dict[int, Reader[Made]] = {}
        self._newest: Reader[Made] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader[Made]]:
        """The generation that is live now: whoever asks here once, reads from one generation."""
        reader = await self._reader()
        reader.users += 1
        try:
            yield reader
        finally:
            reader.users -= 1
            await self._close_unused()

    @property
    def pool(self) -> Pool:
        """That of the generation that was live when a request last looked."""
        return self._newest.pool if self._newest else self._pool

    async def aclose(self) -> None:
        """Let go of all."""
        self._newest = None
        for reader in self._readers.values():
            reader.users = 0
        await self._close_unused()

    async def _reader(self) -> Reader[Made]:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                generation = await generations.live(self._pool)
        except (OSError, *OUTAGES, asyncpg.PostgresError):
            if self._newest is None:
                raise
            return self._newest
        if reader := self._readers.get(generation.number):
            self._newest = reader
            return reader
        async with self._opening:
            if generation.number not in self._readers:
                made = await asyncio.to_thread(self._make, generation)
                self._readers[generation.number] = Reader(generation, await self._connect(generation.number), made)
            self._newest = self._readers[generation.number]
            return self._newest

    async def _connect(self, number: int) -> Pool:
        if number == FIRST_GENERATION:
            return self._pool
        return await connect(self._settings, number, waiting_max=self._pool.waiting_max)

    async def _close_unused(self) -> None:
        for number, reader in list(self._readers.items()):
            if not reader.users and reader is not self._newest:
                del self._readers[number]
                if reader.pool is not self._pool:
                    await close(reader.pool)
                await reader.made.aclose()
