"""A tenant's documents of a thousand pages do not hold up the one-page documents of another tenant."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from millrace.client import Gateway
from samples.big_pdf import write_big_pdf
from streams.settings import WorkerSettings
from tests.conftest import Process

log = logging.getLogger(__name__)

PAGES = 1_000
SIZE_BYTES = 50_000_000
IDLE_DOCUMENTS = 10
"""Before and again afterwards, since the machine may be busy with other things."""
BUSY_DOCUMENTS_MIN = 5
"""Fewer would say little, and mean that the large one was no work."""
DELAY_FACTOR_MAX = 2.0
WORST_SHARE_MAX = 0.15
"""Of the time that the large ones take: whoever waits for one of them to be parsed waits for a third of it."""
INDEXED_DEADLINE_S = 240
MARK = b"The mark of sheet 1 is "


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "survey.pdf"
    write_big_pdf(path, PAGES, SIZE_BYTES)
    return path


class OnePagers:
    """Documents of one page, each with a text of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        write_big_pdf(folder / "page.pdf", 1, 10_000)
        self._page = (folder / "page.pdf").read_bytes()
        assert self._page.count(MARK) == 1

    def next(self) -> Path:
        self._count += 1
        mark = self._page.index(MARK) + len(MARK)
        path = self._folder / f"page-{self._count}.pdf"
        path.write_bytes(self._page[:mark] + f"{self._count:06}".encode() + self._page[mark + 6 :])
        return path


async def indexed_s(client: Gateway, path: Path) -> float:
    """Seconds from a document's acceptance to its being searchable."""
    document_id = (await client.add_file(path, "application/pdf", document_id=path.stem))["document_id"]
    accepted = time.monotonic()
    last = [status async for status in client.follow(document_id)][-1]
    assert last["state"] == "indexed", last
    return time.monotonic() - accepted


@dataclass
class Delays:
    """Seconds that small documents took, alone and beside large ones, and that the large ones took."""

    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    large: float = 0.0

    def __str__(self) -> str:
        return f"idle: {_spread(self.idle)}; beside large ones, which took {self.large:.1f} s: {_spread(self.busy)}"


async def measured(client: Gateway, other: Gateway, large: Path, count: int, folder: Path) -> Delays:
    """Index one-page documents one after the other: alone, beside as many large ones as asked, and alone again."""
    pages, delays = OnePagers(folder), Delays()
    for _ in range(3):  # connections, plans and parsers are warm from then on
        await indexed_s(client, pages.next())
    delays.idle += [await indexed_s(client, pages.next()) for _ in range(IDLE_DOCUMENTS)]
    unfinished = {f"survey-{number}" for number in range(count)}
    for document_id in unfinished:
        await other.add_file(large, "application/pdf", document_id=document_id)
    began = time.monotonic()
    async with asyncio.timeout(INDEXED_DEADLINE_S):
        while unfinished:
            delays.busy.append(await indexed_s(client, pages.next()))
            states = {document_id: (await other.status(document_id))["state"] for document_id in unfinished}
            assert "failed" not in states.values()
            unfinished = {document_id for document_id, state in states.items() if state != "indexed"}
    delays.large = time.monotonic() - began
    delays.idle += [await indexed_s(client, pages.next()) for _ in range(IDLE_DOCUMENTS)]
    log.info("%s", delays)
    assert len(delays.busy) >= BUSY_DOCUMENTS_MIN, delays
    return delays


@pytest.fixture
async def other(gateway: Process, worker: Process, tenant: str) -> AsyncIterator[Gateway]:
    async with Gateway(gateway.ready_url.removesuffix("/readyz"), f"{tenant}-large") as each:
        yield each


async def test_a_large_document_delays_small_ones_by_less_than_twice(
    client: Gateway, other: Gateway, large: Path, tmp_path: Path
) -> None:
    delays = await measured(client, other, large, 1, tmp_path)
    assert median(delays.busy) < DELAY_FACTOR_MAX * median(delays.idle), delays


async def test_no_small_document_waits_for_a_large_one_however_many_there_are(
    client: Gateway, other: Gateway, large: Path, tmp_path: Path
) -> None:
    delays = await measured(client, other, large, WorkerSettings().parse_processes, tmp_path)
    assert max(delays.busy) < WORST_SHARE_MAX * delays.large, delays


def _spread(seconds: Sequence[float]) -> str:
    return f"median {median(seconds):.3f} s of {len(seconds)} ({min(seconds):.3f} to {max(seconds):.3f})"
