"""`generations`: which generations of the index there are, which one readers see, and how that changes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import asyncpg

from db.errors import GenerationBehind, GenerationMissing
from db.pool import Connection, Pool
from db.queries import load
from schemas.topics import CHAT_REQUESTED

_queries = load("generations")

LOOK_EVERY_S = 1.0
"""How old what a stage knows of its generation's standing may be."""
GRACE = timedelta(seconds=3)
"""Longer than that: so long one that was live still speaks, until the next has surely noticed that it is its turn."""
BEHIND_MAX = 1_000
"""Documents that may be missing when a swap begins: a busy system always has some on their way."""
SWAP_WAIT_S = 10
"""So long a swap holds the live generation's outcomes back, until the next one has them, too."""
POLL_S = 0.05


class GenerationState(StrEnum):
    """What a generation is to others."""

    PREPARING = "preparing"
    BUILDING = "building"
    LIVE = "live"
    KEPT = "kept"
    ABANDONED = "abandoned"

    @property
    def served(self) -> bool:
        """Whether workers serve it."""
        return self in {GenerationState.BUILDING, GenerationState.LIVE, GenerationState.KEPT}


@dataclass(frozen=True, slots=True)
class Generation:
    """An index generation. ``embedder`` and ``chunker``: its settings that differ from a worker's own."""

    number: int
    state: GenerationState
    embedder: Mapping[str, Any]
    chunker: Mapping[str, Any]
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From its row."""
        return cls(**{**row, "state": GenerationState(row["state"])})


async def listed(connection: "Connection | Pool") -> list[Generation]:
    """All of them, oldest first."""
    return [Generation.of(row) async for row in _queries.list_generations(connection)]


async def live(connection: "Connection | Pool") -> Generation:
    """The one that readers see."""
    return Generation.of(await _queries.live(connection))


async def get(connection: "Connection | Pool", number: int) -> Generation:
    """One of them. Raises `GenerationMissing`."""
    for generation in await listed(connection):
        if generation.number == number:
            return generation
    raise GenerationMissing(f"There is no generation {number}.")


async def hold_live(connection: Connection) -> int:
    """The number of the one that readers see, which it stays until the transaction ends."""
    return int(await _queries.hold_live(connection))


async def announce(pool: Pool, embedder: Mapping[str, Any], chunker: Mapping[str, Any]) -> int:
    """Give out the number of a new generation, which nobody serves yet."""
    return int(await _queries.announce(pool, embedder=dict(embedder), chunker=dict(chunker)))


async def create_tables(pool: Pool, number: int) -> None:
    """Make the tables of a generation that was announced."""
    await load("generations", number=number).create_tables(pool)


async def begin(pool: Pool, number: int) -> None:
    """Have the workers build a generation whose tables and topics are there."""
    await _move(pool, number, GenerationState.BUILDING, GenerationState.PREPARING)


async def swap(pool: Pool, number: int, *, force: bool = False) -> Generation:
    """Make a generation the one that readers see, and return the one that they saw until now, which is kept.

    Nothing that anybody has seen is missing afterwards: the live generation's outcomes are held back until the next one
    has all of them, for `SWAP_WAIT_S` at most. ``force`` leaves that out. Raises `GenerationMissing` and
    `GenerationBehind`.
    """
    before = await live(pool)
    if before.number == number:
        return before
    between = load("succession", leader=before.number, follower=number)
    if not force:
        await _refuse_behind(pool, between, number, BEHIND_MAX)
    async with pool.acquire() as connection, connection.transaction():
        await _queries.lock_generations(connection)
        before = await live(connection)
        if not force:
            await between.hold_outcomes(connection)
            await _caught_up(connection, between, number)
        await _move(connection, before.number, GenerationState.KEPT, GenerationState.LIVE)
        await _move(connection, number, GenerationState.LIVE, GenerationState.BUILDING, GenerationState.KEPT)
        await between.inherit_letters(connection, questions=CHAT_REQUESTED.name)
        await between.inherit_published(connection)
    return before


async def previous(pool: Pool) -> Generation:
    """The one that readers saw before. Raises `GenerationMissing`."""
    kept = [generation for generation in await listed(pool) if generation.state is GenerationState.KEPT]
    if not kept:
        raise GenerationMissing("There is none to go back to.")
    return max(kept, key=lambda generation: generation.changed_at)


async def abandon(pool: Pool, number: int) -> None:
    """Have the workers let go of a generation; again for one that is abandoned changes nothing.

    Raises `GenerationMissing`, also for the live one.
    """
    await _move(
        pool,
        number,
        GenerationState.ABANDONED,
        *(state for state in GenerationState if state is not GenerationState.LIVE),
    )


async def drop(pool: Pool, number: int) -> None:
    """Remove the tables and the row of a generation that was abandoned."""
    async with pool.acquire() as connection, connection.transaction():
        await load("generations", number=number).drop_tables(connection)
        await _queries.forget(connection, number=number)


async def has_tables(pool: Pool, number: int) -> bool:
    """Whether a generation has its tables: one that was given up early, or dropped half way, may not."""
    return bool(await _queries.has_tables(pool, number=number))


async def _move(
    connection: "Connection | Pool", number: int, state: GenerationState, *from_states: GenerationState
) -> None:
    if not await _queries.move(connection, number=number, state=state, from_states=list(from_states)):
        raise GenerationMissing(f"There is no generation {number} that could become {state}.")


async def _refuse_behind(connection: "Connection | Pool", between: Any, number: int, most: int) -> None:
    try:
        behind = int(await between.behind(connection))
    except asyncpg.UndefinedTableError:
        raise GenerationMissing(f"There is no generation {number}.") from None
    if behind > most:
        raise GenerationBehind(f"{behind} documents of the live generation are not in generation {number} yet.")


async def _caught_up(connection: Connection, between: Any, number: int) -> None:
    deadline = time.monotonic() + SWAP_WAIT_S
    while True:
        try:
            return await _refuse_behind(connection, between, number, 0)
        except GenerationBehind:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)


class Standing:
    """How a generation stands among the others, looked up at most once in `LOOK_EVERY_S`."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self._number = number
        self._looked: tuple[float, asyncpg.Record] | None = None

    async def is_live(self) -> bool:
        """Whether readers see it: then what it has no use for, nobody has."""
        return bool((await self._look())["live"])

    async def speaks(self) -> bool:
        """Whether it tells others of what happens."""
        return bool((await self._look())["speaks"])

    async def leader(self) -> int | None:
        """Whose outcomes it follows; None if there is no other generation."""
        leader: int | None = (await self._look())["leader"]
        return leader

    def look_again(self) -> None:
        """Have the next question answered as it is then: for what must not be done by two, nor by none."""
        self._looked = None

    async def _look(self) -> asyncpg.Record:
        if self._looked is None or self._looked[0] < time.monotonic() - LOOK_EVERY_S:
            began = time.monotonic()
            self._looked = began, await _queries.standing(self._pool, number=self._number, grace=GRACE)
        return self._looked[1]


async def questions(pool: Pool, number: int, limit: int) -> Sequence[tuple[str, str]]:
    """Tenants and questions to try a generation's search with, taken from what it has."""
    sampled = load("succession", leader=number, follower=number).sample_questions(pool, limit=limit)
    return [(row["tenant_id"], row["question"]) async for row in sampled]
