"""Processes that parse: how they are started, timed, and ended with their worker."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog
from pebble import ProcessExpired, ProcessPool

from engine.chunk import ChunkSettings, chunk
from engine.parse import ParseLimits, parse
from schemas.errors import MillraceError
from schemas.events import Chunk
from streams.settings import WorkerSettings

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
TASKS_PER_PROCESS = 200
"""A parser process is replaced after so many documents, which gives back what native libraries may have leaked."""


class ParserCrashed(MillraceError):
    """The parser died or ran out of time on this document."""

    type = "parser-crashed"


class Parser:
    """Processes of their own for parsing: it is CPU-bound, native, and fed with files that nobody vouches for."""

    def __init__(self, settings: WorkerSettings, limits: ParseLimits, chunking: ChunkSettings) -> None:
        self._timeout_s = settings.parse_timeout_s
        self._limits = limits
        self._chunking = chunking
        self._pool = ProcessPool(
            max_workers=settings.parse_processes,
            max_tasks=TASKS_PER_PROCESS,
            # A fork would copy the threads' locks of this process in whatever state they are.
            context=multiprocessing.get_context("spawn"),
            initializer=end_with_worker,
            initargs=(os.getpid(),),
        )
        for _ in range(settings.parse_processes):
            # They start now, not when the first document waits: that takes seconds.
            self._pool.schedule(warm_up)

    async def parse(self, path: Path, media_type: str) -> "Parsed":
        """Parse and chunk a file. Raises what `engine.parse` raises, and `ParserCrashed`."""
        try:
            return await self._try(path, media_type)
        except ProcessExpired as first:
            # Somebody may have ended the process for reasons of their own; twice, and it is the document.
            log.warning("parser ended", exitcode=first.exitcode)
        try:
            return await self._try(path, media_type)
        except ProcessExpired as error:
            raise ParserCrashed(f"Its process ended with {error.exitcode}.") from error

    async def _try(self, path: Path, media_type: str) -> "Parsed":
        future = self._pool.schedule(
            parse_and_chunk, (path, media_type, self._limits, self._chunking), timeout=self._timeout_s
        )
        try:
            return await asyncio.wrap_future(future)
        except TimeoutError:
            raise ParserCrashed(f"It took more than {self._timeout_s:g} s.") from None

    async def close(self) -> None:
        """End the processes."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        await asyncio.to_thread(self._pool.join)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document's text and chunks, with what was found beside them."""

    text: str
    title: str | None
    page_count: int | None
    chunks: list[Chunk]


def end_with_worker(worker_pid: int) -> None:
    """What a parser's process does first: on Linux, have itself killed when the worker ends, kill -9 included.

    Elsewhere it ends after the file it is at. Linux watches the thread that started the process: the pool starts its
    processes from the event loop's thread and from its own, and both live as long as the pool.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker_pid:  # it ended before we asked
            os._exit(1)


def parse_and_chunk(path: Path, media_type: str, limits: ParseLimits, chunking: ChunkSettings) -> Parsed:
    """What runs in the parser's process."""
    document = parse(path, media_type, limits)
    return Parsed(document.text, document.title, len(document.pages) or None, list(chunk(document, chunking)))


def warm_up() -> None:
    """Nothing; by being called it has this module and all that it needs imported in the parser's process."""
