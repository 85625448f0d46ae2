"""A PDF of 1,000 pages and 50 MB goes through in bounded memory, and none of its pages is lost."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from millrace.client import Gateway
from samples.big_pdf import write_big_pdf
from tests.conftest import Process
from tests.memory import held_bytes

log = logging.getLogger(__name__)

PAGES = 1_000
SIZE_BYTES = 50_000_000
WORKER_BYTES_MAX = 600_000_000
GATEWAY_BYTES_MAX = 200_000_000
SAMPLE_INTERVAL_S = 0.05
INDEXED_DEADLINE_S = 120


@dataclass(slots=True)
class Memory:
    """What a process and all that it started hold at most, in bytes."""

    root: psutil.Process
    max_bytes: int = 0
    samples: int = 0
    largest: dict[int, int] = field(default_factory=dict)

    def sample(self) -> None:
        """Look once."""
        found = held_bytes(self.root)
        self.samples += 1
        if sum(found.values()) > self.max_bytes:
            self.max_bytes, self.largest = sum(found.values()), found


@contextmanager
def sampled(*memories: Memory) -> Iterator[None]:
    """Sample at an interval, in a thread of its own so that nothing that waits here delays it."""
    over = threading.Event()

    def run() -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due += SAMPLE_INTERVAL_S
            for memory in memories:
                memory.sample()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def big_pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "survey.pdf"
    write_big_pdf(path, PAGES, SIZE_BYTES)
    assert path.stat().st_size >= SIZE_BYTES
    return path


async def test_a_big_pdf_is_indexed_in_bounded_memory(
    worker: Process, gateway: Process, client: Gateway, http: httpx.AsyncClient, big_pdf: Path
) -> None:
    of_worker, of_gateway = Memory(psutil.Process(worker.child.pid)), Memory(psutil.Process(gateway.child.pid))
    with sampled(of_worker, of_gateway):
        started = time.monotonic()
        await client.add_file(big_pdf, "application/pdf", document_id="survey")
        uploaded = time.monotonic()
        async with asyncio.timeout(INDEXED_DEADLINE_S):
            last = [status async for status in client.follow("survey")][-1]
        indexed = time.monotonic()
    figures = (
        f"uploaded in {uploaded - started:.1f} s, indexed {indexed - uploaded:.1f} s later; "
        f"at most: worker {of_worker.max_bytes / 1e6:.0f} MB, gateway {of_gateway.max_bytes / 1e6:.0f} MB "
        f"({of_worker.samples} samples, one every {(indexed - started) / of_worker.samples * 1_000:.0f} ms)"
    )
    log.info(figures)
    assert last["state"] == "indexed", last
    assert of_worker.max_bytes < WORKER_BYTES_MAX, (figures, of_worker.largest)
    assert of_gateway.max_bytes < GATEWAY_BYTES_MAX, (figures, of_gateway.largest)
    assert {chunk["page"] for chunk in await chunks_of(http, "survey")} == set(range(1, PAGES + 1))
    [hit, *_] = (await client.search("Survey sheet 777"))["hits"]
    assert "Survey sheet 777" in hit["text"]


async def chunks_of(http: httpx.AsyncClient, document_id: str) -> list[dict[str, Any]]:
    """All chunks of a document, page by page."""
    chunks: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = (
            await http.get(
                f"/v1/documents/{document_id}/chunks", params={"limit": 200} | ({"cursor": cursor} if cursor else {})
            )
        ).json()
        chunks += page["chunks"]
        if not (cursor := page["next_cursor"]):
            return chunks
