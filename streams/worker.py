"""A worker: one process that runs one stage, or several, until it is told to stop."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from typing import Any

import faust
import structlog

from db import positions
from db.blobs import Blobs, BlobSettings
from db.pool import DatabaseSettings, Pool, close, connect
from engine.answer import AnswererSettings
from engine.answerers import create_answerer
from engine.chunk import ChunkSettings
from engine.embed import Embedder, EmbedderSettings
from engine.embedders import create_embedder
from engine.parse import ParseLimits
from schemas.broker import BrokerSettings, producer
from schemas.errors import MillraceError
from schemas.log import log_id, until_log_changes
from schemas.topics import GROUP_OF_STAGE
from streams.answer import AnswerStage
from streams.app import create_app
from streams.embed import EmbedStage
from streams.health import serve_health
from streams.index import IndexStage
from streams.janitor import keep_tidy
from streams.months import keep_months_ahead
from streams.outbox import Outbox
from streams.parse import ParseStage
from streams.parser import Parser
from streams.settings import WorkerSettings
from streams.stage import Stage

log = structlog.get_logger()

ANSWER_ATTEMPTS_MAX = 5
"""Somebody waits for an answer: seconds, not minutes."""
STAGES = tuple(GROUP_OF_STAGE)


class WorkerStopped(MillraceError):
    """A stage of the worker stopped by itself."""

    type = "worker-stopped"
    hint = "The log says why; a restart goes on where it stopped."


class Workshop:
    """Makes stages, and what they need once each: a worker that only indexes loads no embedder."""

    def __init__(
        self, stack: AsyncExitStack, settings: WorkerSettings, pool: Pool, outbox: Outbox, blobs: Blobs
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._pool = pool
        self._outbox = outbox
        self._blobs = blobs

    @cached_property
    def _embedder(self) -> Embedder:
        embedder = create_embedder(EmbedderSettings())
        self._stack.push_async_callback(embedder.aclose)
        return embedder

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        common = self._outbox, self._settings.attempts_max
        match name:
            case "parse":
                parser = Parser(self._settings, ParseLimits(), ChunkSettings())
                self._stack.push_async_callback(parser.close)
                return ParseStage(*common, parser, self._pool, self._blobs)
            case "embed":
                return EmbedStage(*common, self._embedder, self._pool)
            case "index":
                self._beside(keep_tidy(self._outbox, self._pool, self._blobs), "janitor")
                return IndexStage(*common, self._pool, self._blobs)
            case "answer":
                answerer = create_answerer(AnswererSettings(), self._embedder)
                self._stack.push_async_callback(answerer.aclose)
                self._beside(keep_months_ahead(self._pool), "months")
                return AnswerStage(
                    self._outbox, ANSWER_ATTEMPTS_MAX, answerer=answerer, embedder=self._embedder, pool=self._pool
                )
        raise ValueError(f"no stage {name!r}; there are {', '.join(STAGES)}")

    def _beside(self, job: Coroutine[Any, Any, None], name: str) -> None:
        """Run a job for as long as the worker runs."""
        self._stack.callback(asyncio.create_task(job, name=name).cancel)


async def run_worker(names: Sequence[str], stop: asyncio.Event) -> None:
    """Run stages until ``stop`` is set. Raises `WorkerStopped` if one of them ends before, and what start-up raises."""
    settings, broker = WorkerSettings(), BrokerSettings()
    async with AsyncExitStack() as stack:
        pool = await connect(DatabaseSettings())
        stack.push_async_callback(close, pool)
        log_read = await log_id(broker)
        epoch = await positions.epoch_of(pool, log_read)
        kafka = producer(broker)
        await kafka.start()
        stack.push_async_callback(kafka.stop)
        blobs = Blobs(BlobSettings())
        workshop = Workshop(stack, settings, pool, Outbox(kafka, pool, blobs), blobs)
        apps = [create_app(workshop.stage(name), epoch, broker, settings) for name in names]
        if settings.port:
            await stack.enter_async_context(serve_health(settings.host, settings.port, apps))
        for app in apps:
            stack.push_async_callback(app.stop)
        await asyncio.gather(*(app.start() for app in apps))
        log.info("worker ready", stages=list(names))
        await _until_stopped(apps, stop, asyncio.create_task(until_log_changes(broker, log_read)))


async def _until_stopped(apps: Sequence[faust.App], stop: asyncio.Event, changed: asyncio.Task[None]) -> None:
    told = asyncio.create_task(stop.wait())
    ended = [asyncio.create_task(app.wait_until_stopped()) for app in apps]
    await asyncio.wait([told, changed, *ended], return_when=asyncio.FIRST_COMPLETED)
    if changed.done():
        await changed
    for task in (told, changed, *ended):
        task.cancel()
    if not stop.is_set():
        crashed = [str(app.crash_reason) for app in apps if app.crashed]
        raise WorkerStopped("; ".join(crashed) or None)
