"""Search: through the gateway, by clients and at a given pace; beside it the bare query, and the recall."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import numpy as np
import orjson
from pgvector import HalfVector

from benchmarks.system import TENANT, System
from benchmarks.times import percentiles
from db.pool import DatabaseSettings, Pool, close, connect
from db.search import Mode, search
from engine.embed_wordllama import WordLlamaEmbedder
from schemas.events import SearchFilters

CLIENTS = (1, 8, 64)
SECONDS = 10.0
WARM_UP_S = 2.0
HITS = 10
EXACT_QUESTIONS = 200
COLLECTION = "collection-1"
"""A sixth of all documents."""

Ask = Callable[[str], Awaitable[Any]]


def questions(corpus: Path) -> list[str]:
    """The texts of questions.jsonl."""
    return [orjson.loads(line)["text"] for line in (corpus / "questions.jsonl").read_bytes().splitlines()]


async def measure(system: System, corpus: Path) -> dict[str, Any]:
    """All of it, on a corpus that is indexed."""
    asked = questions(corpus)
    embedder = WordLlamaEmbedder()
    pool = await connect(DatabaseSettings(DATABASE_URL=system.dsn))
    figures: dict[str, Any] = {}
    async with asking(system) as ask:
        figures["bare and through the gateway"] = await in_turns({"bare": bare(pool, embedder), "gateway": ask}, asked)
        for clients in CLIENTS:
            figures[f"clients: {clients}"] = await under_load(ask, asked, clients)
        pace = figures["clients: 8"]["per_s"] / 2
        figures["half load"] = await at_pace(ask, asked, pace)
    async with asking(system, filters={"collection": COLLECTION}) as ask:
        for clients in CLIENTS[:2]:
            figures[f"filtered, clients: {clients}"] = await under_load(ask, asked, clients)
    for name, filters in (
        ("recall@10", SearchFilters()),
        ("recall@10, filtered", SearchFilters(collection=COLLECTION)),
    ):
        figures[name] = await recall(pool, embedder, asked[:EXACT_QUESTIONS], filters)
    await close(pool)
    return figures


@asynccontextmanager
async def asking(system: System, **given: Any) -> Any:
    """A function that asks the gateway, and raises unless it answers."""
    async with aiohttp.ClientSession(headers=system.headers, connector=aiohttp.TCPConnector(limit=0)) as http:

        async def ask(question: str) -> dict[str, Any]:
            async with http.post(f"{system.url}/v1/search", json={"query": question, "limit": HITS, **given}) as answer:
                answer.raise_for_status()
                found: dict[str, Any] = orjson.loads(await answer.read())
                return found

        yield ask


def bare(pool: Pool, embedder: WordLlamaEmbedder) -> Ask:
    """The same statement by asyncpg alone, with the same embedder: what a gateway could be at best."""

    async def ask(question: str) -> Sequence[asyncpg.Record]:
        [vector] = await embedder.embed([question])
        return await search(
            pool,
            TENANT,
            question,
            vector,
            embedder.name,
            mode=Mode.HYBRID,
            filters=SearchFilters(),
            limit=HITS + 1,
        )

    return ask


async def in_turns(doors: dict[str, Ask], asked: Sequence[str]) -> dict[str, Any]:
    """Each question by each door, so that whatever else the machine does meets all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in doors}
    for number, question in enumerate((*asked[-100:], *asked)):
        for name, ask in doors.items():
            started = time.perf_counter()
            await ask(question)
            if number >= 100:
                seconds[name].append(time.perf_counter() - started)
    return {name: percentiles(each) for name, each in seconds.items()}


async def under_load(ask: Ask, asked: Sequence[str], clients: int) -> dict[str, float]:
    """Clients that ask one question after another."""
    turns = itertools.cycle(asked)
    await _clients(ask, turns, clients, WARM_UP_S)
    started = time.perf_counter()
    seconds = await _clients(ask, turns, clients, SECONDS)
    return {**percentiles(seconds), "per_s": round(len(seconds) / (time.perf_counter() - started), 1)}


async def _clients(ask: Ask, turns: Iterator[str], clients: int, for_s: float) -> list[float]:
    seconds: list[float] = []
    end = time.perf_counter() + for_s

    async def client() -> None:
        while (started := time.perf_counter()) < end:
            await ask(next(turns))
            seconds.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


async def at_pace(ask: Ask, asked: Sequence[str], per_s: float) -> dict[str, float]:
    """Questions that come by chance, so many a second on average, whether or not those before were answered."""
    pauses = np.random.default_rng(1).exponential(1 / per_s, int(per_s * SECONDS))
    seconds: list[float] = []

    async def one(question: str) -> None:
        started = time.perf_counter()
        await ask(question)
        seconds.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for question, pause in zip(itertools.cycle(asked), pauses, strict=False):
            group.create_task(one(question))
            await asyncio.sleep(pause)
    return {**percentiles(seconds), "per_s": round(per_s, 1)}


async def recall(pool: Pool, embedder: WordLlamaEmbedder, asked: Sequence[str], filters: SearchFilters) -> float:
    """The share of the ten chunks that are nearest indeed, by comparing all, which a search by vector finds."""
    found = 0
    async with pool.acquire() as connection:
        for question in asked:
            [vector] = await embedder.embed([question])
            nearest = await connection.fetch(
                "SELECT c.document_id, c.ordinal FROM document_chunks c "
                "JOIN documents d USING (tenant_id, document_id, revision) "
                "WHERE tenant_id = $1 AND NOT d.deleted AND ($3::text IS NULL OR d.collection = $3) "
                "ORDER BY c.embedding <=> $2, 1, 2 LIMIT $4",
                TENANT,
                HalfVector(vector),
                filters.collection,
                HITS,
            )
            rows = await search(
                pool, TENANT, question, vector, embedder.name, mode=Mode.VECTOR, filters=filters, limit=HITS
            )
            found += len({tuple(row)[:2] for row in rows} & {tuple(row) for row in nearest})
    return round(found / (HITS * len(asked)), 4)
