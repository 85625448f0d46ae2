"""Freshness: from a document's acknowledgement until a search finds it, while nothing, some or much else comes in."""

import asyncio
import itertools
import time
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.ingest import corpus_documents, post
from benchmarks.system import System
from benchmarks.times import percentiles

PROBES = 150
PROBE_EVERY_S = 0.2
TEXT = "The inspector wrote the word {word} on the door of the wheel house and went home before the rain came."
LOADS = {"idle": 0.0, "half load": 0.5, "full load": 1.0}
"""Shares of the documents a second that an ingest was measured at."""
EDITED_CHUNKS = 1_000


class Unseen(Exception):
    """A search did not find what was written before the position that it named."""


async def measure(system: System, corpus: Path, documents_per_s: float) -> dict[str, Any]:
    """Percentiles of each load. ``documents_per_s``: of the corpus, at full load."""
    figures: dict[str, Any] = {}
    async with aiohttp.ClientSession(headers=system.headers) as http:
        figures["edit"] = await edit(http, system, corpus)
        documents = itertools.chain.from_iterable(corpus_documents(corpus) for _ in itertools.count())
        for name, share in LOADS.items():
            load = asyncio.create_task(_load(http, system, documents, share * documents_per_s)) if share else None
            figures[name] = await _probe(http, system)
            if load:
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
    return figures


async def _load(http: aiohttp.ClientSession, system: System, documents: Any, per_s: float) -> None:
    """Documents of the corpus once more, under other names, at an even pace."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            document = next(documents) | {"id": f"load-{uuid.uuid4().hex}"}
            group.create_task(post(http, f"{system.url}/v1/documents", document))
            await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))


async def _probe(http: aiohttp.ClientSession, system: System) -> dict[str, Any]:
    """Probes at an even pace, each by itself: one that is slow does not keep the next from coming."""
    acknowledged: list[float] = []
    found: list[float] = []

    async def probe() -> None:
        word = f"w{uuid.uuid4().hex}"
        posted = time.perf_counter()
        document = {"id": word, "title": None, "collection": "probes", "text": TEXT.format(word=word)}
        position = await post(http, f"{system.url}/v1/documents", document)
        acknowledged_at = time.perf_counter()
        acknowledged.append(acknowledged_at - posted)
        await _find(http, system, word, position)
        found.append(time.perf_counter() - acknowledged_at)

    async with asyncio.TaskGroup() as group:
        for _ in range(PROBES):
            group.create_task(probe())
            await asyncio.sleep(PROBE_EVERY_S)
    return {"acknowledged": percentiles(acknowledged), "found": percentiles(found)}


async def _find(http: aiohttp.ClientSession, system: System, word: str, position: str) -> None:
    """Search for a word as of the write that brought it: the answer comes once it is found. Raises `Unseen`."""
    asked = {"query": word, "limit": 1, "mode": "text"}
    as_of = {"X-Millrace-Position": position}
    while True:
        async with http.post(f"{system.url}/v1/search", json=asked, headers=as_of) as answer:
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                hits = (await answer.json())["hits"]
                break
        await asyncio.sleep(float(answer.headers["Retry-After"]))  # it has enough to do, and says when to come back
    if not hits or word not in hits[0]["text"]:
        raise Unseen(word)


async def edit(http: aiohttp.ClientSession, system: System, corpus: Path) -> dict[str, Any]:
    """One word of a document of a thousand chunks: until a search finds it, and how many chunks were embedded."""
    words = itertools.chain.from_iterable(document["text"].split(" ") for document in corpus_documents(corpus))
    text = " ".join(itertools.islice(words, EDITED_CHUNKS * 116))
    place = text.index(" ", len(text) // 2)
    # A name of its own, since an earlier measure on the same data has left a document behind.
    document = {"id": f"edited-{uuid.uuid4().hex}", "title": "Edited", "collection": "edited", "text": text}
    await post(http, f"{system.url}/v1/documents", document)
    async with asyncio.timeout(120):
        while not (chunks := await _chunks(http, system, document["id"])):
            await asyncio.sleep(0.05)
    embedded = system.count("millrace_chunks_embedded")
    word = f"w{uuid.uuid4().hex}"
    edited = document | {"text": f"{text[:place]} {word}{text[place:]}"}
    position = await post(http, f"{system.url}/v1/documents", edited)
    acknowledged = time.perf_counter()
    await _find(http, system, word, position)
    found_ms = round((time.perf_counter() - acknowledged) * 1e3, 1)
    return {"chunks": chunks, "found_ms": found_ms, "embedded": system.count("millrace_chunks_embedded") - embedded}


async def _chunks(http: aiohttp.ClientSession, system: System, document_id: str) -> int:
    """How many it has that searches find."""
    async with http.get(f"{system.url}/v1/documents/{document_id}") as answer:
        return int((await answer.json())["chunk_count"]) if answer.ok else 0
