"""Haystack with pgvector-haystack's `PgvectorDocumentStore`.

Set up as its documentation says: `DocumentSplitter` by words, an embedder component, `DocumentWriter` in an indexing
`Pipeline`, `search_strategy="hnsw"`; hybrid by its two retrievers and a `DocumentJoiner` with reciprocal rank fusion.

Tuned. Two processes (one for each core), each with a pipeline and a store of its own, some thousand chunks in one run,
written by psycopg's pipelined `executemany`. Its splitter by tokens must download a vocabulary, so words are counted,
as many as 256 and 32 tokens are in this corpus on average. The HNSW index is built after the rows, by opening the store
again with the strategy `hnsw`; the keyword index is the table's from the start. Vectors are `halfvec`. A store has one
connection with one cursor and cannot be shared by searches under way, so each search takes a pair of stores from
a pool and asks both at once; its components are called directly, since a pipeline around them costs only time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from haystack import Document as HaystackDocument
from haystack import Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.components.retrievers.pgvector import PgvectorEmbeddingRetriever, PgvectorKeywordRetriever
from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

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
    batches,
    count_tokens,
    main,
    run_workers,
)

TABLE = "chunks"
WORKERS = 2
BATCH_CHARACTERS = 1_000_000
SAMPLE_DOCUMENTS = 200
LANES = 16
"""Searches under way at once, at most: each holds two connections."""


@component
class WordLlamaDocumentEmbedder:
    """The embedder behind Haystack's interface."""

    def __init__(self, wordllama: WordLlama) -> None:
        self._wordllama = wordllama

    @component.output_types(documents=list[HaystackDocument])
    def run(self, documents: list[HaystackDocument]) -> dict[str, Any]:
        """The documents, with their vectors."""
        vectors = self._wordllama.embed([document.content or "" for document in documents]).tolist()
        return {
            "documents": [
                replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)
            ]
        }


def ingest(job: Job) -> Ingested:
    """Rows from two processes, then the vectors' index."""
    documents = job.documents()
    sample = " ".join(document.text for document in documents[:SAMPLE_DOCUMENTS])
    tokens_per_word = count_tokens(sample) / len(sample.split(" "))
    wordllama = WordLlama()
    watch = Stopwatch()
    store = _store(job, recreate=True)
    store.count_documents()
    store.close()
    run_workers(lambda share: _add(job, wordllama, tokens_per_word, share), documents, WORKERS)
    searchable_s = watch()
    _store(job, hnsw=True).count_documents()
    return Ingested(
        searchable_s,
        watch(),
        {
            "order": "rows and keyword index, then HNSW",
            "processes": WORKERS,
            "vectors": "halfvec",
            "tokens per word": round(tokens_per_word, 3),
        },
    )


def _add(job: Job, wordllama: WordLlama, tokens_per_word: float, documents: Sequence[Document]) -> None:
    pipeline = Pipeline()
    pipeline.add_component(
        "splitter",
        DocumentSplitter(
            split_by="word",
            split_length=round(CHUNK_TOKENS / tokens_per_word),
            split_overlap=round(OVERLAP_TOKENS / tokens_per_word),
        ),
    )
    pipeline.add_component("embedder", WordLlamaDocumentEmbedder(wordllama))
    pipeline.add_component("writer", DocumentWriter(_store(job), policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("splitter.documents", "embedder.documents")
    pipeline.connect("embedder.documents", "writer.documents")
    for batch in batches(documents, BATCH_CHARACTERS):
        pipeline.run(
            {
                "splitter": {
                    "documents": [
                        HaystackDocument(
                            id=document.id,
                            content=document.text,
                            meta={"title": document.title, "collection": document.collection},
                        )
                        for document in batch
                    ]
                }
            }
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """What one search under way holds."""

    embedding: PgvectorEmbeddingRetriever
    keyword: PgvectorKeywordRetriever


class HaystackSearcher:
    """Both retrievers, joined."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._wordllama = WordLlama()
        self._joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=HITS)
        self._lanes: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in lanes:
            self._lanes.put_nowait(lane)

    async def search(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        lane = await self._lanes.get()
        try:
            near, matching = await asyncio.gather(
                lane.embedding.run_async(self._vector(question)), lane.keyword.run_async(question)
            )
        finally:
            self._lanes.put_nowait(lane)
        joined = self._joiner.run([near["documents"], matching["documents"]])
        return _texts(joined["documents"])

    async def nearest(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        lane = await self._lanes.get()
        try:
            return _texts((await lane.embedding.run_async(self._vector(question)))["documents"])
        finally:
            self._lanes.put_nowait(lane)

    def _vector(self, question: str) -> list[float]:
        return self._wordllama.embed([question])[0].tolist()


@asynccontextmanager
async def open_searcher(job: Job) -> AsyncIterator[HaystackSearcher]:
    """With all its connections open."""
    filters = (
        None if job.collection is None else {"field": "meta.collection", "operator": "==", "value": job.collection}
    )
    stores: list[PgvectorDocumentStore] = []

    def store() -> PgvectorDocumentStore:
        stores.append(_store(job, hnsw=True))
        return stores[-1]

    lanes = [
        Lane(
            PgvectorEmbeddingRetriever(document_store=store(), filters=filters, top_k=HITS),
            PgvectorKeywordRetriever(document_store=store(), filters=filters, top_k=HITS),
        )
        for _ in range(LANES)
    ]
    # One after the other: each looks whether the table and its indexes are there.
    for opened in stores:
        await opened.count_documents_async()
    yield HaystackSearcher(lanes)
    for opened in stores:
        await opened.close_async()


def _store(job: Job, *, hnsw: bool = False, recreate: bool = False) -> PgvectorDocumentStore:
    return PgvectorDocumentStore(
        connection_string=Secret.from_token(job.dsn),
        table_name=TABLE,
        embedding_dimension=DIMENSIONS,
        vector_type="halfvec",
        vector_function="cosine_similarity",
        recreate_table=recreate,
        search_strategy="hnsw" if hnsw else "exact_nearest_neighbor",
        hnsw_index_creation_kwargs={"m": HNSW_M, "ef_construction": HNSW_EF_CONSTRUCTION},
        hnsw_ef_search=HNSW_EF_SEARCH,
    )


def _texts(documents: Sequence[HaystackDocument]) -> list[str]:
    return [document.content or "" for document in documents]


if __name__ == "__main__":
    logging.getLogger("haystack_integrations").setLevel(logging.ERROR)  # Each store says that the index is there.
    main(
        ingest,
        open_searcher,
        table=TABLE,
        text="content",
        embedding="embedding",
        collection="meta->>'collection'",
        packages=["haystack-ai", "pgvector-haystack", "psycopg"],
    )
