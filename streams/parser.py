"""Processes that parse: how they are started, timed, and ended with their worker."""

import asyncio
import ctypes
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

import structlog
from pebble import ProcessExpired, ProcessPool

from engine.chunk import ChunkSettings, chunk
from engine.errors import TooManyChunks
from engine.parse import ParseLimits, load, parse
from engine.tokens import count_tokens
from schemas.errors import MillraceError
from schemas.events import Chunk
from streams.confine import confine
from streams.settings import WorkerSettings

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
STDOUT, STDERR = 1, 2
TASKS_PER_PROCESS = 2_000
"""A parser process is replaced after so many turns, which gives back what native libraries may have leaked.

None leaks a megabyte over so many small files of any kind that we read, and to start one takes as long as 200 of them.
"""
TOGETHER_TIMEOUT_S = 5.0
"""For several small files at one go. Where that is not enough one of them takes long, and each is tried alone."""

LAST_WORDS_BYTES_MAX = 2_000
"""Of what a process wrote before it ended; the panic of a library, or the end of a traceback, is shorter."""
# How Rust, C++ and Python say that an allocation failed; pdfium aborts without a word, which nothing else does.
_OUT_OF_MEMORY = re.compile(r"memory allocation of \d+ bytes failed|bad_alloc|MemoryError")


ENDED = (ProcessExpired, BrokenProcessPool)
"""How pebble says that the process at work ended, or all of them at once."""


class ParserCrashed(MillraceError):
    """The parser died or ran out of time on this document."""

    type = "parser-crashed"


class ParserOutOfMemory(MillraceError):
    """The parser needs more memory for this document than it may have."""

    type = "parser-out-of-memory"
    hint = "Split the document, or raise MILLRACE_WORKER_PARSE_MEMORY_MB."


class Parser:
    """Processes of their own for parsing: it is CPU-bound, native, and fed with files that nobody vouches for."""

    def __init__(self, settings: WorkerSettings, limits: ParseLimits, chunking: ChunkSettings) -> None:
        self._settings = settings
        self._limits = limits
        self._chunking = chunking
        self.processes = settings.parse_processes
        self._last_words = tempfile.TemporaryDirectory(prefix="millrace-parser-")
        self._stopping: set[asyncio.Task[None]] = set()
        self._pool = self._start()

    async def parse(self, files: Sequence["File"]) -> list["Parsed | Exception"]:
        """Parse and chunk files, one after the other in one process; whoever cancels this ends the process.

        Gives of each file what it holds, or the error why not. Raises
        `ParserOutOfMemory` and `ParserCrashed`; of several files nobody knows then which is to blame.
        """
        ended: Exception | None = None
        # Somebody may have ended the process for reasons of their own; twice, and it is the document.
        for _ in range(2 if len(files) == 1 else 1):
            try:
                return await self._try(files)
            except ENDED as error:
                ended = error
                last_words = self._last_words_of(error)
                log.warning("parser ended", error=repr(error), exitcode=_exitcode(error), last_words=last_words)
                if _OUT_OF_MEMORY.search(last_words) or (_exitcode(error) == -signal.SIGABRT and not last_words):
                    raise ParserOutOfMemory(self._memory()) from error
        raise ParserCrashed(f"Its process ended with {_exitcode(ended)}.") from ended

    async def _try(self, files: Sequence["File"]) -> list["Parsed | Exception"]:
        timeout_s = self._settings.parse_timeout_s
        if len(files) > 1:
            timeout_s = min(timeout_s, TOGETHER_TIMEOUT_S)
        try:
            if not self._pool.active:  # Broken: the pool cannot bear that all its idle processes are ended.
                self._replace_pool()
            future = self._pool.schedule(parse_and_chunk_all, (files, self._limits, self._chunking), timeout=timeout_s)
            return await asyncio.wrap_future(future)
        except TimeoutError:
            raise ParserCrashed(f"It took more than {timeout_s:g} s.") from None
        except MemoryError:
            raise ParserOutOfMemory(self._memory()) from None

    def _start(self) -> ProcessPool:
        pool = ProcessPool(
            max_workers=self._settings.parse_processes,
            max_tasks=TASKS_PER_PROCESS,
            # A fork would copy the threads' locks of this process in whatever state they are.
            context=multiprocessing.get_context("spawn"),
            initializer=begin,
            initargs=(os.getpid(), Path(self._last_words.name), self._settings.parse_memory_mb * 2**20),
        )
        for _ in range(self._settings.parse_processes):
            # They start now, not when the first document waits: that takes seconds.
            pool.schedule(refused).add_done_callback(_warn)
        return pool

    def _replace_pool(self) -> None:
        broken, self._pool = self._pool, self._start()
        task = asyncio.create_task(asyncio.to_thread(_end, broken))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def _last_words_of(self, ended: Exception) -> str:
        try:
            said = (Path(self._last_words.name) / f"{getattr(ended, 'pid', None)}").read_bytes()
        except FileNotFoundError:
            return ""
        return said[-LAST_WORDS_BYTES_MAX:].decode(errors="replace")

    def _memory(self) -> str:
        return f"At most {self._settings.parse_memory_mb} MB."

    async def close(self) -> None:
        """End the processes."""
        await asyncio.to_thread(_end, self._pool)
        await asyncio.gather(*self._stopping)
        self._last_words.cleanup()


class File(NamedTuple):
    """What is to be parsed."""

    path: Path
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document's text and chunks, with what was found beside them."""

    text: str
    title: str | None
    page_count: int | None
    chunks: list[Chunk]


def begin(worker_pid: int, last_words: Path, memory_bytes_max: int) -> None:
    """What a parser's process does first: ties its life to the worker's, loads, and gives up what it does not need."""
    global _refused  # noqa: PLW0603 - an initializer's result reaches nobody; `refused` carries it out
    end_with_worker(worker_pid)
    load()  # before the first document's time begins to count
    count_tokens("ready")
    # What libraries print is no business of the worker's own output, and the worker wants to read it.
    own = last_words / f"{os.getpid()}"
    file = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    Finalize(None, own.unlink, kwargs={"missing_ok": True}, exitpriority=0)  # nothing to tell where it ends in order
    for standard in (STDOUT, STDERR):
        os.dup2(file, standard)
    os.close(file)
    _refused = confine(memory_bytes_max)


_refused: str | None = None


def end_with_worker(worker_pid: int) -> None:
    """On Linux, have this process killed when the worker ends, kill -9 included.

    Elsewhere it ends after the file it is at. Linux watches the thread that started the process: the pool starts its
    processes from the event loop's thread and from its own, and both live as long as the pool.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker_pid:  # it ended before we asked
            os._exit(1)


def parse_and_chunk(path: Path, media_type: str, limits: ParseLimits, chunking: ChunkSettings) -> Parsed:
    """Parse and chunk one file. Raises what `engine.parse` and `engine.chunk` raise, and `TooManyChunks`."""
    os.ftruncate(STDERR, 0)  # the last words are about this document, and none before
    document = parse(path, media_type, limits)
    chunks = list(islice(chunk(document, chunking), limits.chunks_max + 1))
    if len(chunks) > limits.chunks_max:
        raise TooManyChunks(f"More than {limits.chunks_max}.")
    return Parsed(document.text, document.title, len(document.pages) or None, chunks)


def parse_and_chunk_all(
    files: Sequence[File], limits: ParseLimits, chunking: ChunkSettings
) -> list[Parsed | Exception]:
    """What runs in the parser's process; a file that cannot be parsed is no other's concern."""
    results: list[Parsed | Exception] = []
    for file in files:
        try:
            results.append(parse_and_chunk(file.path, file.media_type, limits, chunking))
        except MemoryError:
            raise  # whoever had it before may be to blame
        except Exception as error:
            results.append(error)
    return results


def refused() -> str | None:
    """What `confine` could not do, in this process."""
    return _refused


@cache
def _warn_of(reason: str) -> None:
    log.warning("parser processes are not cut off from the network", reason=reason)


def _warn(answered: "Future[str | None]") -> None:
    if not answered.cancelled() and not answered.exception() and (reason := answered.result()):
        _warn_of(reason)


def _exitcode(ended: Exception | None) -> int:
    """How the process ended, or 1 where pebble only says that all of them did."""
    return int(getattr(ended, "exitcode", 1))


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
