"""Pathway's document store, which keeps chunks and their index in memory and answers over HTTP.

Set up as its documentation says: documents in a table with `_metadata`, `DocumentStore.from_langchain_components` with
`RecursiveCharacterTextSplitter`, `UsearchKnnFactory` (HNSW), and a route that hands its queries to `retrieve_query`.
Vectors alone: the hybrid index that it has as well would be slower. Nothing is kept, so `search` ingests anew before it
asks, and what `ingest` takes is without any disk. For the exact scan `ingest` writes the same chunks and vectors to
Postgres after the clock has stopped.

Tuned. The documents come from memory and are embedded in process, many in a call. The server is a process of its own,
as Postgres is for the others; the client keeps its connections. `DocumentStoreServer` commits queries every 50 ms,
which would be most of a search, so the route is made by the `rest_connector` below it, with `COMMIT_MS`; and nothing is
logged for each question. As in `DocumentStoreServer`, answered queries stay in the engine: it panics where they are
to be deleted.
"""

import asyncio
import logging
import multiprocessing
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pathway as pw
import psycopg
from langchain_text_splitters import RecursiveCharacterTextSplitter
from numpy.typing import NDArray
from pathway.stdlib.indexing import UsearchKnnFactory
from pathway.xpacks.llm.document_store import DocumentStore
from pathway.xpacks.llm.embedders import BaseEmbedder

from benchmarks.peers.door import (
    CHUNK_TOKENS,
    DIMENSIONS,
    HITS,
    HNSW_EF_CONSTRUCTION,
    HNSW_EF_SEARCH,
    HNSW_M,
    OVERLAP_TOKENS,
    Document,
    Ingested,
    Job,
    Stopwatch,
    WordLlama,
    count_tokens,
    main,
)

HOST = "127.0.0.1"
ROUTE = "/v1/retrieve"
TABLE = "chunks"
BATCH = 1024
COMMIT_MS = 1
POLL_S = 0.05
CONNECTIONS = 32

wordllama = WordLlama()
splitter = RecursiveCharacterTextSplitter(
    chunk_size=CHUNK_TOKENS, chunk_overlap=OVERLAP_TOKENS, length_function=count_tokens
)


class WordLlamaEmbedder(BaseEmbedder):
    """The embedder behind Pathway's interface."""

    def __init__(self) -> None:
        super().__init__(max_batch_size=BATCH)

    def __wrapped__(self, input: list[str]) -> list[NDArray[np.float32]]:  # noqa: A002 - its name in the interface
        """A vector for each text."""
        return list(wordllama.embed(input))

    def get_embedding_dimension(self) -> int:
        """See `BaseEmbedder`."""
        return DIMENSIONS


class RawDocuments(pw.Schema):
    """What a `DocumentStore` reads."""

    data: bytes
    _metadata: pw.Json


def serve(documents: Sequence[Document], port: int) -> None:
    """Ingest and answer until killed."""
    logging.disable(logging.INFO)  # Two lines for each question.
    rows = [(each.text.encode(), pw.Json({"title": each.title, "collection": each.collection})) for each in documents]
    store = DocumentStore.from_langchain_components(
        pw.debug.table_from_rows(RawDocuments, rows),
        UsearchKnnFactory(
            connectivity=HNSW_M,
            expansion_add=HNSW_EF_CONSTRUCTION,
            expansion_search=HNSW_EF_SEARCH,
            embedder=WordLlamaEmbedder(),
        ),
        splitter=splitter,
    )
    queries, answer = pw.io.http.rest_connector(
        webserver=pw.io.http.PathwayWebserver(host=HOST, port=port),
        route=ROUTE,
        schema=store.RetrieveQuerySchema,
        methods=("POST",),
        autocommit_duration_ms=COMMIT_MS,
        delete_completed_queries=False,
    )
    answer(store.retrieve_query(queries))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


class PathwaySearcher:
    """Asks over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, collection: str | None) -> None:
        self._session = session
        self._filter = {} if collection is None else {"metadata_filter": f"collection == `{collection}`"}

    async def search(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        async with self._session.post(ROUTE, json={"query": question, "k": HITS, **self._filter}) as response:
            response.raise_for_status()
            return [hit["text"] for hit in await response.json()]

    nearest = search


@asynccontextmanager
async def open_searcher(job: Job) -> AsyncIterator[PathwaySearcher]:
    """On a server that has everything."""
    documents = job.documents()
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("fork").Process(target=serve, args=(documents, port), daemon=True)
    server.start()
    try:
        async with aiohttp.ClientSession(
            f"http://{HOST}:{port}",
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            searcher = PathwaySearcher(session, job.collection)
            # The documents all come before the first question, so they are all there when it is answered.
            while not await _answered(searcher, documents[0].title):
                if not server.is_alive():
                    raise RuntimeError("The server failed; it said why on stderr.")
                await asyncio.sleep(POLL_S)
            yield searcher
    finally:
        server.kill()
        server.join()


async def _answered(searcher: PathwaySearcher, question: str) -> bool:
    try:
        return bool(await searcher.search(question))
    except aiohttp.ClientConnectionError:
        return False


def ingest(job: Job) -> Ingested:
    """Into memory, and then into a table for the exact scan."""
    watch = Stopwatch()
    searchable_s = asyncio.run(_serve_once(job, watch))
    with psycopg.connect(job.dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE TABLE {TABLE} (text text, collection text, embedding vector({DIMENSIONS}))")
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {TABLE} (text, collection, embedding) FROM STDIN") as copy,
        ):
            for document in job.documents():
                chunks = splitter.split_text(document.text)
                for chunk, vector in zip(chunks, wordllama.embed(chunks), strict=True):
                    copy.write_row((chunk, document.collection, str(vector.tolist())))
    return Ingested(
        searchable_s,
        searchable_s,
        {"order": "in memory, with HNSW; no full text", "commit of queries, ms": COMMIT_MS},
    )


async def _serve_once(job: Job, watch: Stopwatch) -> float:
    async with open_searcher(job):
        return watch()


if __name__ == "__main__":
    main(
        ingest,
        open_searcher,
        table=TABLE,
        text="text",
        embedding="embedding",
        collection="collection",
        packages=["pathway", "aiohttp", "langchain-text-splitters"],
    )
