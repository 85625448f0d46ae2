"""A generation's line in a worker: its stages, with the pool, topics, embedder and chunker that are its own."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faust

from db.blobs import Blobs
from db.generations import Generation
from db.pool import DatabaseSettings, Pool, close, connect
from engine.chunk import ChunkSettings
from engine.embed import Embedder, EmbedderSettings
from engine.embedders import create_embedder
from engine.parse import ParseLimits
from schemas.broker import BrokerSettings
from streams.app import create_app
from streams.embed import EmbedStage
from streams.index import IndexStage
from streams.janitor import keep_tidy
from streams.outbox import Outbox
from streams.parse import ParseStage
from streams.parser import Parser
from streams.segments import keep_segments
from streams.settings import WorkerSettings
from streams.stage import Stage


@dataclass(frozen=True, slots=True)
class Site:
    """What all the lines of a worker share."""

    settings: WorkerSettings
    broker: BrokerSettings
    epoch: int
    outbox: Outbox
    blobs: Blobs

    async def start(self, stages: Sequence[Stage], stack: AsyncExitStack) -> list[faust.App]:
        """Feed stages from their topics until the stack unwinds."""
        apps = [create_app(stage, self.epoch, self.broker, self.settings) for stage in stages]
        for app in apps:
            stack.push_async_callback(app.stop)
        await asyncio.gather(*(app.start() for app in apps))
        return apps


@asynccontextmanager
async def line(site: Site, generation: Generation, names: Sequence[str]) -> AsyncIterator[list[faust.App]]:
    """Run the named stages of a generation, and give their apps, while the context lasts."""
    async with AsyncExitStack() as stack:
        pool = await connect(DatabaseSettings(), generation.number)
        stack.push_async_callback(close, pool)
        workshop = _Workshop(stack, site, generation, pool)
        yield await site.start([workshop.stage(name) for name in names], stack)


def beside(stack: AsyncExitStack, job: Coroutine[Any, Any, None], name: str) -> None:
    """Run a job until the stack unwinds."""
    stack.callback(asyncio.create_task(job, name=name).cancel)


class _Workshop:
    """Makes stages, and what they need: a worker that only indexes loads no embedder."""

    def __init__(self, stack: AsyncExitStack, site: Site, generation: Generation, pool: Pool) -> None:
        self._stack = stack
        self._site = site
        self._generation = generation
        self._pool = pool
        self._outbox = site.outbox.of(pool, generation.number)

    @cached_property
    def _embedder(self) -> Embedder:
        embedder = create_embedder(EmbedderSettings(**self._generation.embedder))
        self._stack.push_async_callback(embedder.aclose)
        return embedder

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        common = self._outbox, self._site.settings.attempts_max
        match name:
            case "parse":
                parser = Parser(self._site.settings, ParseLimits(), ChunkSettings(**self._generation.chunker))
                self._stack.push_async_callback(parser.close)
                return ParseStage(*common, parser, self._pool, self._site.blobs)
            case "embed":
                return EmbedStage(*common, self._embedder, self._pool)
            case "index":
                beside(self._stack, keep_tidy(self._outbox, self._pool, self._site.blobs), "janitor")
                beside(self._stack, keep_segments(DatabaseSettings(), self._generation.number), "segments")
                return IndexStage(*common, self._pool, self._site.blobs)
        raise ValueError(f"no stage {name!r} of a generation")
