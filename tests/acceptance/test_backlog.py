"""A worker that was away catches up with all that was submitted meanwhile, and needs no more memory for it."""

import logging
import os
import time
from statistics import mean

import psutil

from db.pool import Pool
from schemas.events import DocumentSubmitted, TextContent
from schemas.topics import SUBMITTED
from schemas.wire import encode
from tests.conditions import eventually
from tests.conftest import Process
from tests.db.conftest import pool
from tests.memory import held_bytes
from tests.streams.topic import writing

__all__ = ["pool"]

log = logging.getLogger(__name__)

DOCUMENTS = int(os.environ.get("BACKLOG_DOCUMENTS", "1000"))
"""`make backlog` takes 20,000."""
SECONDS_PER_DOCUMENT_MAX = 0.05
GROWTH_MAX = 1.15
"""Of the second half's memory over the first's, from a tenth of the documents on: by then everything is loaded."""
WORKER_BYTES_MAX = 600_000_000


async def test_a_long_backlog_is_worked_off_in_flat_memory(worker: Process, pool: Pool, tenant: str) -> None:
    worker.kill()
    async with writing() as kafka:
        for number in range(DOCUMENTS):
            key, value, headers = encode(_document(tenant, number))
            sent = await kafka.send(SUBMITTED.name, value, key=key, headers=headers)
        await sent
        await kafka.flush()
    worker.start()
    began = time.monotonic()
    samples: list[tuple[int, int]] = []

    async def done() -> bool:
        samples.append((await _indexed(pool, tenant), sum(held_bytes(leader).values())))
        return samples[-1][0] == DOCUMENTS

    leader = psutil.Process(worker.child.pid)
    await eventually(done, deadline_s=60 + DOCUMENTS * SECONDS_PER_DOCUMENT_MAX)
    took_s = time.monotonic() - began
    settled = [bytes_ for done, bytes_ in samples if done >= DOCUMENTS / 10]
    first, second = settled[: len(settled) // 2 or 1], settled[len(settled) // 2 :]
    figures = (
        f"{DOCUMENTS} documents in {took_s:.0f} s, {DOCUMENTS / took_s:.0f} a second; memory of the worker "
        f"{mean(first) / 1e6:.0f} MB, then {mean(second) / 1e6:.0f} MB, at most {max(settled) / 1e6:.0f} MB"
    )
    log.info(figures)
    assert max(settled) < WORKER_BYTES_MAX, figures
    assert mean(second) < GROWTH_MAX * mean(first), figures
    assert await pool.fetchval("SELECT count(*) FROM document_chunks WHERE tenant_id = $1", tenant) == DOCUMENTS


def _document(tenant: str, number: int) -> DocumentSubmitted:
    text = f"Document {number} tells of mill {number % 97} and of stone {number % 31}. " * 8
    return DocumentSubmitted(
        tenant_id=tenant, document_id=f"d{number}", media_type="text/plain", content=TextContent(text=text)
    )


async def _indexed(pool: Pool, tenant: str) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM documents WHERE tenant_id = $1 AND NOT deleted", tenant))
