"""The parser under fire: whatever a file holds, it is read or refused, and no process dies of it."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunk import ChunkSettings
from engine.errors import UnreadableDocument
from engine.parse import ParseLimits, media_type_of
from streams.parser import Parser
from streams.settings import WorkerSettings
from tests.fuzz.conftest import BATCH, SECONDS
from tests.fuzz.mutate import damaged
from tests.streams.parsing import parsed_by

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parent / "found"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file() and media_type_of(path.name))
KINDS = sorted({path.suffix for path in FILES})
SEEDS = {kind: [path.read_bytes() for path in FILES if path.suffix == kind] for kind in KINDS}


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    settings = WorkerSettings(parse_processes=1, parse_timeout_s=20, parse_memory_mb=512)
    parser = Parser(settings, ParseLimits(), ChunkSettings())
    yield parser
    asyncio.run(parser.close())


def assert_read_or_refused(parser: Parser, path: Path, kind: str) -> None:
    media_type = media_type_of(f"file{kind}")
    assert media_type
    try:
        asyncio.run(parsed_by(parser, path, media_type))
    except UnreadableDocument:
        return
    except Exception:
        content = path.read_bytes()
        FOUND.mkdir(exist_ok=True)
        (FOUND / f"{hashlib.sha256(content).hexdigest()[:16]}{kind}").write_bytes(content)
        raise


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_is_read_or_refused(parser: Parser, path: Path) -> None:
    assert_read_or_refused(parser, path, path.suffix)


@pytest.mark.timeout(SECONDS + 120)
def test_any_file_is_read_or_refused(parser: Parser, time_is_up: Callable[[], bool], tmp_path: Path) -> None:
    @BATCH
    @given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), damaged(SEEDS[kind]))))
    def batch(file: tuple[str, bytes]) -> None:
        kind, content = file
        (tmp_path / "file").write_bytes(content)
        assert_read_or_refused(parser, tmp_path / "file", kind)

    while not time_is_up():
        batch()
