"""LangChain with langchain-postgres' `PGVectorStore`, its current class.

Set up as its documentation says: `PGEngine`, `ainit_vectorstore_table` with a `HybridSearchConfig` and a metadata
column for what is filtered on, `RecursiveCharacterTextSplitter` with a token length function, `aadd_documents`; then
`aapply_vector_index(HNSWIndex())` and `aapply_hybrid_search_index()`.

Tuned. Its `aadd_documents` inserts row by row, each in a transaction of its own, so the time goes into round trips and
commits; it has no bulk door. Two processes (one for each core), each with `WRITERS` calls under way at once on an
asyncpg pool, so that commits share their flush to disk; uvloop; the connection in autocommit, which saves the BEGIN and
COMMIT around each row. Both indexes are built after the rows, which is the faster order. Searches run on the caller's
own event loop, not through the background thread of the synchronous methods, and pass a fresh `HybridSearchConfig` for
each question: the store's own would keep the first question's words for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvloop
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_postgres import Column, PGEngine, PGVectorStore
from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig, reciprocal_rank_fusion
from langchain_postgres.v2.indexes import HNSWIndex
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.peers.door import (
    CHUNK_TOKENS,
    DIMENSIONS,
    HITS,
    HNSW_EF_CONSTRUCTION,
    HNSW_M,
    OVERLAP_TOKENS,
    Document,
    Ingested,
    Job,
    Stopwatch,
    WordLlama,
    batches,
    count_tokens,
    main,
    run_workers,
)

TABLE = "chunks"
WORKERS = 2
WRITERS = 8
BATCH_CHARACTERS = 60_000
METADATA = ["document", "title", "collection"]


class WordLlamaEmbeddings(Embeddings):
    """The embedder behind LangChain's interface."""

    def __init__(self) -> None:
        self._wordllama = WordLlama()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """See `Embeddings`."""
        return self._wordllama.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """See `Embeddings`."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Here and now: the default goes through a thread."""
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Likewise."""
        return self.embed_query(text)


def ingest(job: Job) -> Ingested:
    """Rows from two processes, then the indexes."""
    documents = job.documents()
    embeddings = WordLlamaEmbeddings()
    watch = Stopwatch()
    uvloop.run(_create_table(job))
    run_workers(lambda share: uvloop.run(_add(job, embeddings, share)), documents, WORKERS)
    searchable_s = watch()
    uvloop.run(_index(job, embeddings))
    return Ingested(
        searchable_s,
        watch(),
        {"order": "rows, then indexes", "processes": WORKERS, "writers in each": WRITERS, "autocommit": True},
    )


async def _create_table(job: Job) -> None:
    engine = _engine(job)
    await engine.ainit_vectorstore_table(
        TABLE,
        DIMENSIONS,
        metadata_columns=[Column(name, "text") for name in METADATA],
        overwrite_existing=True,
        hybrid_search_config=_hybrid(),
    )
    await engine.close()


async def _add(job: Job, embeddings: WordLlamaEmbeddings, documents: Sequence[Document]) -> None:
    engine = _engine(job)
    store = await _store(engine, embeddings)
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=CHUNK_TOKENS, chunk_overlap=OVERLAP_TOKENS, length_function=count_tokens
    )
    remaining = batches(documents, BATCH_CHARACTERS)

    async def write() -> None:
        for batch in remaining:
            chunks = splitter.create_documents(
                [document.text for document in batch],
                [
                    {"document": document.id, "title": document.title, "collection": document.collection}
                    for document in batch
                ],
            )
            await store.aadd_documents(chunks)

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    await engine.close()


async def _index(job: Job, embeddings: WordLlamaEmbeddings) -> None:
    engine = _engine(job)
    store = await _store(engine, embeddings)
    await asyncio.gather(
        store.aapply_vector_index(HNSWIndex(m=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION)),
        store.aapply_hybrid_search_index(),
    )
    await engine.close()


class LangChainSearcher:
    """Hybrid by `HybridSearchConfig`, with reciprocal rank fusion."""

    def __init__(self, store: PGVectorStore, collection: str | None) -> None:
        self._store = store
        self._filter = None if collection is None else {"collection": {"$eq": collection}}

    async def search(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        return _texts(
            await self._store.asimilarity_search(
                question, k=HITS, filter=self._filter, hybrid_search_config=_hybrid(question)
            )
        )

    async def nearest(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        vector = await self._store.embeddings.aembed_query(question)
        return _texts(await self._store.asimilarity_search_by_vector(vector, k=HITS, filter=self._filter))


@asynccontextmanager
async def open_searcher(job: Job) -> AsyncIterator[LangChainSearcher]:
    """On a pool that keeps its connections."""
    engine = _engine(job)
    yield LangChainSearcher(await _store(engine, WordLlamaEmbeddings()), job.collection)
    await engine.close()


def _engine(job: Job) -> PGEngine:
    return PGEngine.from_engine(
        create_async_engine(
            job.dsn_for("asyncpg"),
            pool_size=32,
            isolation_level="AUTOCOMMIT",
        )
    )


async def _store(engine: PGEngine, embeddings: Embeddings) -> PGVectorStore:
    return await PGVectorStore.create(
        engine, embeddings, TABLE, metadata_columns=METADATA, hybrid_search_config=_hybrid()
    )


def _hybrid(question: str = "") -> HybridSearchConfig:
    return HybridSearchConfig(
        tsv_column="content_tsv",
        tsv_lang="pg_catalog.english",
        fts_query=question,
        fusion_function=reciprocal_rank_fusion,
        fusion_function_parameters={"rrf_k": 60, "fetch_top_k": HITS},
        primary_top_k=HITS,
        secondary_top_k=HITS,
    )


def _texts(documents: Sequence[LangChainDocument]) -> list[str]:
    return [document.page_content for document in documents]


if __name__ == "__main__":
    main(
        ingest,
        open_searcher,
        table=TABLE,
        text="content",
        embedding="embedding",
        collection="collection",
        packages=["langchain-postgres", "langchain-core", "langchain-text-splitters", "sqlalchemy", "asyncpg"],
    )
