"""What the parts could do alone: the embedder, COPY, an index build, the broker.

Whatever is built of them cannot be faster than all of them together; how near it comes is what it adds.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import numpy as np
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pgvector import HalfVector
from pgvector.asyncpg import register_vector

from benchmarks.ingest import corpus_documents
from benchmarks.system import TENANT, Servers
from benchmarks.usage import cpu_s
from db.chunks import COLUMNS, HEADING_SEPARATOR
from engine.chunk import ChunkSettings, chunk
from engine.embed import Vectors
from engine.embed_wordllama import WordLlamaEmbedder
from engine.parse import ParseLimits, parse
from schemas.events import Chunk
from schemas.topics import EMBEDDED

CHUNKS_MAX = 20_000
"""Enough for seconds of each; more of them would tell nothing else."""
CORES = os.cpu_count() or 1
COPY_ROWS = 1_000
BARE = Path(__file__).with_name("bare.sql")
KEYS = "ALTER TABLE bare ADD PRIMARY KEY (tenant_id, document_id, revision, ordinal); "
TEXT_VECTOR = (
    "ALTER TABLE bare ADD text_vector tsvector NOT NULL GENERATED ALWAYS AS "
    "(setweight(to_tsvector('english', headings), 'B') || to_tsvector('english', text)) STORED; "
)
COPY_BESIDE = {
    "copy": KEYS,
    "copy, with text vector": KEYS + TEXT_VECTOR,
    "copy, with text vector and its index": KEYS + TEXT_VECTOR + "CREATE INDEX ON bare USING gin (text_vector)",
}
RECORD_BYTES = 65_536
RECORDS = 4_000


@dataclass
class Pace:
    """How fast something went: by the clock, and in processor time, which others on the machine do not change."""

    items: int
    s: float
    cpu_s: float

    def figures(self) -> dict[str, float]:
        """What is recorded."""
        return {"per_s": round(self.items / self.s, 1), "cpu_ms_each": round(self.cpu_s / self.items * 1e3, 4)}


@contextmanager
def paced(items: int, *others: psutil.Process) -> Iterator[Callable[[], Pace]]:
    """Time a block, in this process and in others; ask for the pace behind it."""
    processes = (psutil.Process(), *others)
    before, started = sum(map(cpu_s, processes)), time.perf_counter()
    measured: list[Pace] = []
    yield lambda: measured[0]
    measured.append(Pace(items, time.perf_counter() - started, sum(map(cpu_s, processes)) - before))


def chunked(corpus: Path, chunks_max: int = CHUNKS_MAX) -> tuple[list[Chunk], Pace]:
    """The corpus' first chunks, and the pace of parsing and chunking in this process alone."""
    made: list[Chunk] = []
    with paced(1) as pace, TemporaryDirectory() as folder:
        path = Path(folder, "document.md")
        for document in corpus_documents(corpus):
            path.write_text(document["text"])
            made += chunk(parse(path, "text/markdown", ParseLimits()), ChunkSettings())
            if len(made) >= chunks_max:
                break
    return made, Pace(len(made), pace().s, pace().cpu_s)


def embedded(texts: Sequence[str]) -> tuple[Vectors, dict[str, Pace]]:
    """Vectors of the texts, and the pace with threads and with processes on all cores."""
    embedder = WordLlamaEmbedder()
    asyncio.run(embedder.embed(texts[:256]))
    with paced(len(texts)) as threads:
        vectors = asyncio.run(_in_threads(embedder, texts))
    with ProcessPoolExecutor(CORES, get_context("spawn"), _load) as pool:
        list(pool.map(_embed, [texts[:256]] * CORES))
        with paced(len(texts)) as processes:
            list(pool.map(_embed, [texts[share::CORES] for share in range(CORES)]))
    return vectors, {"threads": threads(), "processes": processes()}


async def _in_threads(embedder: WordLlamaEmbedder, texts: Sequence[str]) -> Vectors:
    shares = np.array_split(np.arange(len(texts)), CORES)
    return np.concatenate(
        await asyncio.gather(*(embedder.embed([texts[place] for place in share]) for share in shares))
    )


def _load() -> None:
    global _embedder  # noqa: PLW0603 - an initializer's result reaches the tasks in no other way
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _embedder = WordLlamaEmbedder()


def _embed(texts: Sequence[str]) -> int:
    return len(asyncio.run(_embedder.embed(texts)))


_embedder: WordLlamaEmbedder


async def copied(servers: Servers, chunks: Sequence[Chunk], vectors: Vectors) -> dict[str, Pace]:
    """COPY into a table with the columns of Millrace's, alone and with what Millrace has beside; HNSW built in bulk."""
    postgres = psutil.Process(servers.postgres.pid)
    connection = await asyncpg.connect(servers.postgres.dsn)
    rows = list(_rows(chunks, vectors))
    paces = {}
    for name, beside in COPY_BESIDE.items():
        await connection.execute(f"{BARE.read_text()}{beside}")
        await register_vector(connection)
        with paced(len(rows), postgres) as pace:
            for start in range(0, len(rows), COPY_ROWS):
                await connection.copy_records_to_table("bare", columns=COLUMNS, records=rows[start : start + COPY_ROWS])
        paces[name] = pace()
    for processes in (1, 2):
        await connection.execute(
            f"SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = {processes - 1}"
        )
        with paced(len(rows), postgres) as pace:
            await connection.execute(
                f"CREATE INDEX bare_hnsw ON bare USING hnsw ((embedding::halfvec({vectors.shape[1]})) "
                "halfvec_cosine_ops)"
            )
        paces[f"hnsw in bulk, processes: {processes}"] = pace()
        await connection.execute("DROP INDEX bare_hnsw")
    await connection.close()
    return paces


def _rows(chunks: Sequence[Chunk], vectors: Vectors) -> Iterator[tuple[Any, ...]]:
    document = 0
    for each, vector in zip(chunks, vectors, strict=True):
        document += each.ordinal == 0
        yield (
            TENANT,
            f"doc-{document:07}",
            1,
            each.ordinal,
            each.page,
            each.start,
            each.end,
            each.token_count,
            each.content_hash,
            HEADING_SEPARATOR.join(each.heading_path),
            "[]",
            each.text,
            WordLlamaEmbedder.name,
            HalfVector(vector),
        )


async def broker(servers: Servers) -> dict[str, Pace]:
    """A producer with Millrace's guarantees, and a consumer, with records of the size of its batches."""
    kafka = psutil.Process(servers.kafka.pid)
    address = servers.kafka.bootstrap_servers
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=True, max_request_size=8 << 20
    )
    await producer.start()
    value = os.urandom(RECORD_BYTES)
    with paced(RECORDS, kafka) as produced:
        sent = [await producer.send(EMBEDDED.name, value, partition=0) for _ in range(RECORDS)]
        await asyncio.gather(*sent)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    consumer.assign([TopicPartition(EMBEDDED.name, 0)])
    await consumer.seek_to_beginning()
    left = RECORDS
    with paced(RECORDS, kafka) as consumed:
        while left > 0:
            left -= sum(map(len, (await consumer.getmany(timeout_ms=1_000)).values()))
    await consumer.stop()
    return {"produce 64 KiB": produced(), "consume 64 KiB": consumed()}


def combined_per_s(*cpu_ms_each: float) -> float:
    """Chunks a second where all cores do nothing but these steps."""
    return round(CORES * 1e3 / sum(cpu_ms_each), 1)
