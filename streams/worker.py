"""A worker: one process that runs one stage, or several, until it is told to stop.

Of each stage it runs one for every generation of the index, and begins and ends them as generations come and go. Which
of them is live changes nothing here: the stages look that up.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import asyncpg
import faust
import structlog

from db import generations, positions
from db.blobs import Blobs, BlobSettings
from db.errors import OUTAGES
from db.generations import Generation, GenerationState
from db.live import Live
from db.pool import DatabaseSettings, Pool, close, connect
from engine.answer import AnswererSettings
from engine.answerers import create_answerer
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from schemas.broker import BrokerSettings
from schemas.errors import MillraceError
from schemas.log import log_id, until_log_changes
from schemas.producer import Producer
from schemas.topics import GROUP_OF_STAGE, STAGES_OF_GENERATION
from streams.answer import AnswerStage, Means
from streams.health import serve_health
from streams.line import Site, beside, line
from streams.months import keep_months_ahead
from streams.outbox import Outbox
from streams.settings import WorkerSettings

log = structlog.get_logger()

ANSWER_ATTEMPTS_MAX = 5
"""Somebody waits for an answer: seconds, not minutes."""
STAGES = tuple(GROUP_OF_STAGE)
LOOK_EVERY_S = 1.0
"""After so long a new generation is noticed, and one that was abandoned let go."""
OPEN_AGAIN_AFTER_S = 30.0
"""A generation that cannot be served here (its model is missing, say) keeps the others from nothing."""


class WorkerStopped(MillraceError):
    """A stage of the worker stopped by itself."""

    type = "worker-stopped"
    hint = "The log says why; a restart goes on where it stopped."


class Lines:
    """The lines of a worker, one for each generation; ``apps`` has those of all of them, and of stages they share."""

    def __init__(self, site: Site, names: Sequence[str]) -> None:
        self._site = site
        self._names = [name for name in names if name in STAGES_OF_GENERATION]
        self._stacks: dict[int, tuple[AsyncExitStack, list[faust.App]]] = {}
        self._failed_at: dict[int, float] = {}
        self.apps: list[faust.App] = []

    async def arrange(self, existing: Sequence[Generation]) -> None:
        """Begin and end lines until there is one for each generation that is served, the live one's first.

        Raises what keeps the live one's from beginning.
        """
        served = {generation.number: generation for generation in existing if generation.state.served}
        for number in self._stacks.keys() - served.keys():
            await self._end(number)
        missing = [served[number] for number in served.keys() - self._stacks.keys() if self._names]
        for generation in sorted(missing, key=lambda each: each.state is not GenerationState.LIVE):
            await self._begin(generation)

    async def close(self) -> None:
        """End all lines."""
        for number in list(self._stacks):
            await self._end(number)

    async def _begin(self, generation: Generation) -> None:
        number = generation.number
        if self._failed_at.get(number, -OPEN_AGAIN_AFTER_S) > time.monotonic() - OPEN_AGAIN_AFTER_S:
            return
        stack = AsyncExitStack()
        try:
            apps = await stack.enter_async_context(line(self._site, generation, self._names))
        except Exception:
            await stack.aclose()
            if generation.state is GenerationState.LIVE:
                raise
            self._failed_at[number] = time.monotonic()
            log.exception("generation not served", generation=number)
            return
        self._stacks[number] = stack, apps
        self.apps += apps
        log.info("generation served", generation=number, state=generation.state, stages=self._names)

    async def _end(self, number: int) -> None:
        stack, apps = self._stacks.pop(number)
        for app in apps:
            self.apps.remove(app)
        await stack.aclose()
        log.info("generation not served any more", generation=number)


async def run_worker(names: Sequence[str], stop: asyncio.Event) -> None:
    """Run stages until ``stop`` is set. Raises `WorkerStopped` if one of them ends before, and what start-up raises."""
    settings, broker = WorkerSettings(), BrokerSettings()
    async with AsyncExitStack() as stack:
        pool = await connect(DatabaseSettings())
        stack.push_async_callback(close, pool)
        log_read = await log_id(broker)
        epoch = await positions.epoch_of(pool, log_read)
        kafka = Producer(broker)
        await kafka.start()
        stack.push_async_callback(kafka.stop)
        blobs = Blobs(BlobSettings())
        site = Site(settings, broker, epoch, Outbox(kafka, pool, blobs), blobs)
        lines = Lines(site, names)
        stack.push_async_callback(lines.close)
        if settings.port:
            await stack.enter_async_context(serve_health(settings.host, settings.port, lines.apps))
        if "answer" in names:
            lines.apps += await _answering(site, pool, stack)
        await lines.arrange(await generations.listed(pool))
        log.info("worker ready", stages=list(names))
        changed = asyncio.create_task(until_log_changes(broker, log_read))
        stack.callback(changed.cancel)
        await _until_stopped(lines, pool, stop, changed)


async def _answering(site: Site, pool: Pool, stack: AsyncExitStack) -> list[faust.App]:
    """The answer stage, which the generations share: each answer comes from the one that is live then."""

    def means(generation: Generation) -> Means:
        embedder = create_embedder(EmbedderSettings(**generation.embedder))
        return Means(embedder, create_answerer(AnswererSettings(), embedder))

    live = Live(DatabaseSettings(), pool, means)
    stack.push_async_callback(live.aclose)
    async with live.reading():
        pass  # its model is loaded before the first question comes, or the worker does not start
    beside(stack, keep_months_ahead(pool), "months")
    return await site.start([AnswerStage(site.outbox, ANSWER_ATTEMPTS_MAX, live)], stack)


async def _until_stopped(lines: Lines, pool: Pool, stop: asyncio.Event, changed: asyncio.Task[None]) -> None:
    told = asyncio.create_task(stop.wait())
    while True:
        await asyncio.wait([told, changed], timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            return
        if changed.done():
            told.cancel()
            await changed
        if ailing := [app for app in lines.apps if app.crashed or app.should_stop]:
            told.cancel()
            raise WorkerStopped("; ".join(str(app.crash_reason) for app in ailing if app.crashed) or None)
        try:
            await lines.arrange(await generations.listed(pool))
        except (OSError, *OUTAGES, asyncpg.TransactionRollbackError) as error:
            log.warning("generations not looked up", error=repr(error))
