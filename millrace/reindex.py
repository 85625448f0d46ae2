"""A new generation of the index beside the live one: begun, followed, swapped in, given up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from db import generations, succession
from db.blobs import Blobs, BlobSettings
from db.generations import Generation, GenerationState
from db.pool import DatabaseSettings, Pool, close, connect
from db.succession import Progress
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from gateway.lag import offsets_of
from schemas.broker import BrokerSettings, ensure_topics
from schemas.errors import MillraceError
from schemas.groups import delete_groups, delete_topics, members
from schemas.topics import CHUNKED, EMBEDDED, FIRST_GENERATION, STAGES_OF_GENERATION, Topic, group_of, of_generation

LOOK_EVERY_S = 1.0


class AnotherIsBuilt(MillraceError):
    """Another generation is being built already."""

    type = "another-is-built"
    hint = "`millrace reindex watch` follows it, `millrace reindex abandon N` gives it up."


@dataclass(frozen=True, slots=True)
class Look:
    """How far a generation is: its documents, the lag of its stages in records, and the workers of each stage."""

    progress: Progress
    lags: Mapping[str, int]
    workers: Mapping[str, int]

    @property
    def caught_up(self) -> bool:
        """Whether it keeps up with the live one."""
        return not self.progress.late


@dataclass(frozen=True, slots=True)
class Reindexing:
    """What works on generations: the connections to do it."""

    database: DatabaseSettings
    broker: BrokerSettings
    pool: Pool

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> "AsyncIterator[Reindexing]":
        """Connect, and disconnect at the end."""
        database = DatabaseSettings()
        pool = await connect(database)
        try:
            yield cls(database, BrokerSettings(), pool)
        finally:
            await close(pool)

    async def begin(self, embedder: Mapping[str, Any], chunker: Mapping[str, Any]) -> Generation:
        """Make everything that a new generation needs, and have the workers build it.

        ``embedder`` and ``chunker``: the settings that differ from the workers' own. Raises `AnotherIsBuilt`.
        """
        for generation in await generations.listed(self.pool):
            if generation.state in {GenerationState.PREPARING, GenerationState.BUILDING}:
                raise AnotherIsBuilt(f"Generation {generation.number}.")
        await create_embedder(EmbedderSettings(**embedder)).aclose()  # or it would be found out by each worker
        number = await generations.announce(self.pool, embedder, chunker)
        await ensure_topics(self.broker, _own_topics(number))
        await generations.create_tables(self.pool, number)
        await generations.begin(self.pool, number)
        return await generations.get(self.pool, number)

    async def built(self) -> Generation:
        """The generation that is being built, or else the newest that is kept. Raises `GenerationMissing`."""
        for generation in await generations.listed(self.pool):
            if generation.state is GenerationState.BUILDING:
                return generation
        return await generations.previous(self.pool)

    async def look(self, number: int) -> Look:
        """How far a generation is, held against the live one."""
        live = await generations.live(self.pool)
        groups = {group_of(stage, number): stage for stage in STAGES_OF_GENERATION}
        in_groups = await members(self.broker, list(groups))
        return Look(
            await succession.progress(self.pool, live.number, number),
            await self._lags(number),
            {groups[group]: count for group, count in in_groups.items()},
        )

    async def follow(self, number: int) -> AsyncIterator[Look]:
        """Look again and again, until the generation has caught up."""
        while True:
            look = await self.look(number)
            yield look
            if look.caught_up:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def abandon(self, number: int) -> None:
        """Remove a generation with all that it keeps anywhere; what was interrupted goes on.

        Raises `GenerationMissing`, also for the live one, and `GroupInUse`.
        """
        live = await generations.live(self.pool)
        await generations.abandon(self.pool, number)
        await delete_groups(self.broker, [group_of(stage, number) for stage in STAGES_OF_GENERATION])
        if number != FIRST_GENERATION:  # whose topics are those that every installation has
            await delete_topics(self.broker, _own_topics(number))
        if await generations.has_tables(self.pool, number):
            await succession.delete_blobs(self.pool, Blobs(BlobSettings()), live.number, number)
        await generations.drop(self.pool, number)

    async def _lags(self, number: int) -> dict[str, int]:
        admin = AIOKafkaAdminClient(**self.broker.client())
        consumer = AIOKafkaConsumer(**self.broker.client(), enable_auto_commit=False)
        try:
            await admin.start()
            await consumer.start()
            offsets = await offsets_of(admin, consumer, number)
        finally:
            await consumer.stop()
            await admin.close()
        return {
            stage: sum(end - committed[partition] for partition, end in ends.items())
            for stage, (ends, committed) in offsets.items()
            if stage in STAGES_OF_GENERATION
        }


def _own_topics(number: int) -> list[Topic]:
    return [of_generation(topic, number) for topic in (CHUNKED, EMBEDDED)]
