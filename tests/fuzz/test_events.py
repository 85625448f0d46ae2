"""The decoder under fire: whatever a record holds, it is an event or an `InvalidEvent`, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from schemas.errors import InvalidEvent
from schemas.topics import TOPICS
from schemas.wire import decode
from tests.fuzz.conftest import BATCH, SECONDS
from tests.fuzz.mutate import damaged

FILES = sorted((Path(__file__).parent / "corpus" / "events").iterdir())
SEEDS = [path.read_bytes() for path in FILES]
KINDS = tuple(dict.fromkeys(kind for topic in TOPICS for kind in topic.events))


def assert_read_or_refused(record: bytes) -> None:
    """A record as the corpus keeps it: the key, the headers, an empty line, the value."""
    head, _, value = record.partition(b"\n\n")
    key, *lines = head.split(b"\n")
    headers = []
    for line in lines:
        name, given_value, content = line.partition(b": ")
        headers.append((name.decode(errors="replace"), content if given_value else None))
    try:
        event, _ = decode(KINDS, key, value, headers)
    except InvalidEvent as error:
        assert len(str(error)) < 2_000
    else:
        assert event.key() == key


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_corpus_is_read_or_refused(path: Path) -> None:
    assert_read_or_refused(path.read_bytes())


@pytest.mark.timeout(SECONDS + 120)
def test_any_record_is_read_or_refused(time_is_up: Callable[[], bool]) -> None:
    batch = BATCH(given(damaged(SEEDS))(assert_read_or_refused))
    while not time_is_up():
        batch()
