"""Ingest: a corpus through a public door, until a search finds every chunk and until the final index holds them all."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.results import say
from benchmarks.system import TENANT, System
from benchmarks.usage import cpu_between, cpu_by_part, disk_bytes, memory_by_part
from db import segments
from db.blobs import Blobs, BlobSettings
from db.pool import DatabaseSettings, close, connect
from schemas.events import INLINE_TEXT_CHARS_MAX, BlobContent, DocumentSubmitted, TextContent
from schemas.topics import MESSAGE_BYTES_MAX, SUBMITTED
from schemas.wire import encode

MEDIA_TYPE = "text/markdown"
WRITERS = 16
"""Requests that the client has under way at a time."""
SAMPLE_EVERY_S = 1.0
LOOKED_SHARE = 0.02
"""Of the time, at most, that looking how far it is may take."""
STALLED_AFTER_S = 180
WARM_UP_DOCUMENTS = 100

Door = Callable[[System, Iterator[dict[str, Any]]], Coroutine[Any, Any, None]]


class Stalled(Exception):
    """Nothing more becomes searchable."""


@dataclass
class Ingested:
    """How an ingest went. Times are seconds from its first write."""

    documents: int
    chunks: int
    characters: int
    accepted_s: float
    searchable_s: float
    indexed_s: float
    cpu_s: dict[str, float]
    """By part, until the final index."""
    timeline: list[dict[str, Any]] = field(default_factory=list)
    """Seconds, chunks to be found, and memory by part in MiB."""

    def figures(self) -> dict[str, Any]:
        """What is recorded."""
        return {
            **self.__dict__,
            "chunks_per_s_searchable": round(self.chunks / self.searchable_s, 1),
            "chunks_per_s_indexed": round(self.chunks / self.indexed_s, 1),
            "characters_per_s_searchable": round(self.characters / self.searchable_s),
            "characters_per_s_indexed": round(self.characters / self.indexed_s),
            "cpu_ms_per_chunk": {name: round(each / self.chunks * 1e3, 3) for name, each in self.cpu_s.items()},
            "memory_mib_max": {part: max(point["memory_mib"][part] for point in self.timeline) for part in self.cpu_s},
        }


def corpus_documents(corpus: Path) -> Iterator[dict[str, Any]]:
    """The lines of documents.jsonl."""
    with (corpus / "documents.jsonl").open("rb") as lines:
        yield from map(orjson.loads, lines)


async def over_http(system: System, documents: Iterator[dict[str, Any]]) -> None:
    """POST /v1/documents, some at a time; one that is refused comes again when it was told to."""
    async with aiohttp.ClientSession(headers=system.headers) as http:

        async def write() -> None:
            for document in documents:
                await post(http, f"{system.url}/v1/documents", document)

        await asyncio.gather(*(write() for _ in range(WRITERS)))


async def post(http: aiohttp.ClientSession, url: str, document: dict[str, Any]) -> str:
    """Write a document and return its position; one that is refused for now comes again when the gateway says."""
    body = orjson.dumps(
        {
            "document_id": document["id"],
            "title": document["title"],
            "collection": document["collection"],
            "media_type": MEDIA_TYPE,
            "text": document["text"],
        }
    )
    while True:
        async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            if answer.status not in {429, 503}:
                answer.raise_for_status()
                return str(orjson.loads(await answer.read())["position"])
        await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))


async def over_kafka(system: System, documents: Iterator[dict[str, Any]]) -> None:
    """Onto the topic, as any client may; what is too long for an event is put into the object store before."""
    blobs = Blobs(BlobSettings(url=str(system.home.blobs)))
    producer = AIOKafkaProducer(
        bootstrap_servers=system.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=2 * MESSAGE_BYTES_MAX,
    )
    await producer.start()
    try:
        sent: list[asyncio.Future[Any]] = []
        for document in documents:
            key, value, headers = encode(await _submission(document, blobs))
            sent.append(await producer.send(SUBMITTED.name, value, key=key, headers=headers))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def _submission(document: dict[str, Any], blobs: Blobs) -> DocumentSubmitted:
    text: str = document["text"]
    content: BlobContent | TextContent
    if len(text) <= INLINE_TEXT_CHARS_MAX:
        content = TextContent(text=text)
    else:
        data = text.encode()
        content = BlobContent(key=f"{TENANT}/bench/{document['id']}", size_bytes=len(data))
        await blobs.put(content.key, data)
    return DocumentSubmitted(
        tenant_id=TENANT,
        document_id=document["id"],
        title=document["title"],
        collection=document["collection"],
        media_type=MEDIA_TYPE,
        content=content,
    )


async def warm_up(system: System, corpus: Path) -> None:
    """Some documents of a new tenant, so that compilers, caches and connections are as in a system that runs."""
    tenant = f"warm-up-{uuid.uuid4().hex[:12]}"
    async with aiohttp.ClientSession(headers=system.headers | {"X-Millrace-Tenant": tenant}) as http:
        first = itertools.islice(corpus_documents(corpus), WARM_UP_DOCUMENTS)
        await asyncio.gather(*(post(http, f"{system.url}/v1/documents", document) for document in first))
        while await _unfinished(http, system):
            await asyncio.sleep(0.1)


async def _unfinished(http: aiohttp.ClientSession, system: System) -> int:
    async with http.get(f"{system.url}/v1/documents?limit={WARM_UP_DOCUMENTS}") as answer:
        answer.raise_for_status()
        documents = (await answer.json())["documents"]
    return WARM_UP_DOCUMENTS - sum(document["revision"] is not None for document in documents)


async def ingest(system: System, corpus: Path, door: Door = over_http) -> Ingested:
    """Write the corpus, and wait until it is found, and until nothing is left to be built. Raises `Stalled`."""
    about = orjson.loads((corpus / "about.json").read_bytes())
    connection = await asyncpg.connect(system.dsn, server_settings={"search_path": "g1, public"})
    before, started = cpu_by_part(system.parts), time.perf_counter()
    timeline: list[dict[str, Any]] = []

    def since() -> float:
        return round(time.perf_counter() - started, 3)

    async def timed() -> float:
        await door(system, corpus_documents(corpus))
        return since()

    try:
        writing = asyncio.create_task(timed())
        async for visible, chunks in _visible(connection, about["documents"]):
            if not timeline or since() - timeline[-1]["s"] >= SAMPLE_EVERY_S:
                timeline.append({"s": since(), "chunks": chunks, "memory_mib": memory_by_part(system.parts)})
                say(f"  {visible} of {about['documents']} documents, {chunks} chunks, {since():.0f} s")
            if writing.done() and writing.exception():
                break
        accepted_s = await writing
        searchable_s = since()
        await indexed(system)
        indexed_s = since()
        used = cpu_between(before, cpu_by_part(system.parts))
        timeline.append({"s": indexed_s, "chunks": chunks, "memory_mib": memory_by_part(system.parts)})
    finally:
        await connection.close()
    return Ingested(
        documents=about["documents"],
        chunks=chunks,
        characters=about["characters"],
        accepted_s=accepted_s,
        searchable_s=searchable_s,
        indexed_s=indexed_s,
        cpu_s=used,
        timeline=timeline,
    )


async def _visible(connection: "asyncpg.Connection[Any]", wanted: int) -> AsyncIterator[tuple[int, int]]:
    """How many documents and chunks a search sees, again and again until all documents are there."""
    last, changed = 0, time.perf_counter()
    while True:
        looked = time.perf_counter()
        row = await connection.fetchrow(
            "SELECT count(*) AS documents, coalesce(sum(chunk_count), 0) AS chunks FROM documents "
            "WHERE tenant_id = $1 AND NOT deleted",
            TENANT,
        )
        assert row is not None
        now = time.perf_counter()
        yield row["documents"], row["chunks"]
        if row["documents"] >= wanted:
            return
        if row["documents"] > last:
            last, changed = row["documents"], now
        elif now - changed > STALLED_AFTER_S:
            letters = await connection.fetchval("SELECT count(*) FROM dead_letters WHERE tenant_id = $1", TENANT)
            raise Stalled(f"{last} of {wanted} documents, {letters} dead letters.")
        await asyncio.sleep(max(0.05, (now - looked) / LOOKED_SHARE))


async def indexed(system: System) -> None:
    """Wait until every segment that is full has its index."""
    pool = await connect(DatabaseSettings(DATABASE_URL=system.dsn).model_copy(update={"pool_size": 1}))
    while await segments.backlog(pool):
        await asyncio.sleep(0.05)
    await close(pool)


async def stored(system: System) -> dict[str, Any]:
    """Bytes on disk, of what and where."""
    connection = await asyncpg.connect(system.dsn)
    try:
        await connection.execute("CHECKPOINT")
        database = await connection.fetchval("SELECT pg_database_size(current_database())")
        relations = await connection.fetch(
            "SELECT c.relname, pg_relation_size(c.oid) AS bytes FROM pg_class c WHERE c.relkind IN ('r', 'i', 't') "
            "AND pg_relation_size(c.oid) > 1000000 ORDER BY 2 DESC LIMIT 30"
        )
    finally:
        await connection.close()
    topics: dict[str, int] = {}
    for folder in sorted((system.home.kafka / "data").iterdir()):
        if folder.is_dir() and folder.name.rpartition("-")[2].isdigit():
            topic = folder.name.rpartition("-")[0]
            topics[topic] = topics.get(topic, 0) + sum(file.stat().st_size for file in folder.glob("*.log"))
    return {
        "database": database,
        "relations": {row["relname"]: row["bytes"] for row in relations},
        "topics": {name: size for name, size in topics.items() if size},
        "blobs": disk_bytes(system.home.blobs),
    }
