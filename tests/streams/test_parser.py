"""The parser's processes: what they may not do, and what becomes of a file that goes too far."""

import asyncio
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.chunk import ChunkSettings
from engine.errors import EmptyDocument
from engine.parse import ParseLimits
from streams import parser as parser_module
from streams.confine import OOM_SCORE
from streams.parser import File, Parsed, Parser, ParserCrashed, ParserOutOfMemory
from streams.settings import WorkerSettings
from streams.together import Together
from tests.conditions import eventually
from tests.streams.parsing import parsed_by

MEMORY_MB = 256
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[Parser]:
    settings = WorkerSettings(parse_processes=1, parse_memory_mb=MEMORY_MB, parse_timeout_s=60)
    parser = Parser(settings, ParseLimits(), ChunkSettings())
    yield parser
    await parser.close()


async def inside(parser: Parser, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run something in the parser's process, as a hostile file would that took it over."""
    return await asyncio.wrap_future(parser._pool.schedule(function, arguments))


async def assert_parses(parser: Parser, folder: Path) -> None:
    (folder / "good.txt").write_text("The locking pin is painted yellow.")
    parsed = await parsed_by(parser, folder / "good.txt", "text/plain")
    assert [chunk.text for chunk in parsed.chunks] == ["The locking pin is painted yellow."]


def open_socket(family: int) -> None:
    socket.socket(family)


def run_program() -> None:
    subprocess.run(["true"], check=True)


def write_file(path: Path) -> None:
    path.write_bytes(bytes(1_000_000))


def allocate(size_bytes: int) -> None:
    bytearray(size_bytes)


def limits() -> dict[str, Any]:
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "oom": int(Path("/proc/self/oom_score_adj").read_text()),
    }


@on_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
async def test_a_parser_has_no_network(parser: Parser, family: int) -> None:
    with pytest.raises(PermissionError):
        await inside(parser, open_socket, family)


@on_linux
async def test_a_parser_starts_no_program(parser: Parser) -> None:
    with pytest.raises(PermissionError):
        await inside(parser, run_program)


async def test_a_parser_writes_no_file(parser: Parser, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large"):
        await inside(parser, write_file, tmp_path / "file")


@on_linux
async def test_a_parser_allocates_no_more_than_it_may(parser: Parser) -> None:
    with pytest.raises(MemoryError):
        await inside(parser, allocate, MEMORY_MB * 2**20)
    found = await inside(parser, limits)
    assert found == {"core": (0, 0), "oom": OOM_SCORE}


def process_of(parser: Parser) -> psutil.Process:
    [process] = [
        child for child in psutil.Process().children() if child.pid in parser._pool._pool_manager.worker_manager.workers
    ]
    return process


@on_linux
async def test_too_much_memory_is_the_documents_failure(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "faces.txt").write_text("\U0001f600" * 20_000_000)  # four bytes each, in memory as in the file
    with pytest.raises(ParserOutOfMemory, match=f"At most {MEMORY_MB} MB"):
        await parsed_by(parser, tmp_path / "faces.txt", "text/plain")
    await assert_parses(parser, tmp_path)


async def test_errors_of_a_document_come_through(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(EmptyDocument):
        await parsed_by(parser, tmp_path / "blank.txt", "text/plain")


async def test_of_several_files_each_is_read_or_not_for_itself(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("The locking pin is painted yellow.")
    (tmp_path / "blank.txt").write_text(" ")
    good, blank, again = await parser.parse(
        [File(tmp_path / f"{name}.txt", "text/plain", 40) for name in ("good", "blank", "good")]
    )
    assert isinstance(good, Parsed)
    assert good == again
    assert isinstance(blank, EmptyDocument)


async def test_one_that_takes_long_is_tried_alone(
    parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were to be parsed with it do not wait for it, nor fail with it; who leaves it ends it."""
    monkeypatch.setattr(parser_module, "TOGETHER_TIMEOUT_S", 1.0)
    (tmp_path / "good.txt").write_text("The locking pin is painted yellow.")
    parse = Together[File, Parsed | Exception](parser.parse, abandons=True)
    good = asyncio.create_task(parse(File(tmp_path / "good.txt", "text/plain", 40)))
    slow = asyncio.create_task(parse(File(slow_file(tmp_path), "text/markdown", 40)))
    assert isinstance(await good, Parsed)
    process = await at_work(parser)
    slow.cancel()

    async def is_gone() -> bool:
        return not process.is_running()

    await eventually(is_gone, deadline_s=5)
    await assert_parses(parser, tmp_path)


def slow_file(folder: Path) -> Path:
    """Nested lists: a quarter of a minute of work."""
    path = folder / "nested.md"
    path.write_text("".join(f"{'  ' * level}- x\n" for level in range(4_500)))
    return path


async def at_work(parser: Parser, after: int | None = None) -> psutil.Process:
    """The process that works on a file, once there is one other than ``after``."""

    async def working() -> list[int]:
        tasks = parser._pool._pool_manager.task_manager.tasks.values()
        return [task.worker_id for task in tasks if task.worker_id not in {0, after}]

    [pid] = await eventually(working, deadline_s=30)
    return psutil.Process(pid)


async def test_cancelling_ends_the_process_and_not_the_parser(parser: Parser, tmp_path: Path) -> None:
    await assert_parses(parser, tmp_path)
    task = asyncio.create_task(parsed_by(parser, slow_file(tmp_path), "text/markdown"))
    process = await at_work(parser)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def is_gone() -> bool:
        return not process.is_running()

    await eventually(is_gone, deadline_s=5)
    await assert_parses(parser, tmp_path)


async def test_a_document_whose_process_is_killed_once_is_parsed(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("The locking pin is painted yellow. " * 200_000)
    await assert_parses(parser, tmp_path)
    task = asyncio.create_task(parsed_by(parser, tmp_path / "long.txt", "text/plain"))
    (await at_work(parser)).kill()
    assert isinstance(await task, Parsed)


async def test_a_document_whose_process_is_killed_twice_fails(parser: Parser, tmp_path: Path) -> None:
    await assert_parses(parser, tmp_path)
    task = asyncio.create_task(parsed_by(parser, slow_file(tmp_path), "text/markdown"))
    first = await at_work(parser)
    first.kill()
    (await at_work(parser, after=first.pid)).kill()
    with pytest.raises(ParserCrashed, match=f"{-signal.SIGKILL}"):
        await task
    await assert_parses(parser, tmp_path)


async def test_a_parser_outlives_the_end_of_its_idle_processes(parser: Parser, tmp_path: Path) -> None:
    await assert_parses(parser, tmp_path)
    process_of(parser).kill()
    await assert_parses(parser, tmp_path)
    await assert_parses(parser, tmp_path)


async def test_time_is_bounded(tmp_path: Path) -> None:
    parser = Parser(WorkerSettings(parse_processes=1, parse_timeout_s=3), ParseLimits(), ChunkSettings())
    try:
        await assert_parses(parser, tmp_path)
        begun_s = time.monotonic()
        with pytest.raises(ParserCrashed, match="more than 3 s"):
            await parsed_by(parser, slow_file(tmp_path), "text/markdown")
        assert time.monotonic() - begun_s < 15
        await assert_parses(parser, tmp_path)
    finally:
        await parser.close()
