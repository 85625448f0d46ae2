"""LlamaIndex: `IngestionPipeline` into `PGVectorStore`, with hybrid search and HNSW.

Set up as its documentation says: `SentenceSplitter` with the model's tokenizer, the embedding as the pipeline's last
transformation, `PGVectorStore.from_params(hybrid_search=True, hnsw_kwargs=...)`; searched by what its page on Postgres
recommends for hybrid results, a `QueryFusionRetriever` over a vector and a sparse retriever.

Tuned. Two processes (one for each core), each with a pipeline and a store of its own: `run(num_workers=2)` would send
every node and its vector back to one process that alone writes. The pipeline's cache is off, since it hashes and keeps
everything; embeddings in batches of 256; some thousand chunks in one `run`, which SQLAlchemy inserts by many rows in
one statement over psycopg2. The HNSW index is built after the rows, by opening the store again with `hnsw_kwargs`
(`CREATE INDEX IF NOT EXISTS`); the full-text column and its index are the table's from the start, there is no door to
add them later. Vectors are `halfvec`, which its documentation offers: a smaller index, as Millrace's. What is filtered
on has an index (`indexed_metadata_keys`). Title and collection are kept from the embedding, as everywhere here.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import NodeWithScore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.vector_stores.postgres import PGVectorStore
from pydantic import PrivateAttr

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

NAME = "chunks"
WORKERS = 2
BATCH_CHARACTERS = 1_000_000
METADATA = ["title", "collection"]


class WordLlamaEmbedding(BaseEmbedding):
    """The embedder behind LlamaIndex's interface."""

    _wordllama: WordLlama = PrivateAttr(default_factory=WordLlama)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._wordllama.embed(texts).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def ingest(job: Job) -> Ingested:
    """Rows from two processes, then the vectors' index."""
    documents = job.documents()
    embedding = WordLlamaEmbedding(embed_batch_size=256)
    watch = Stopwatch()
    _initialize(_store(job))
    run_workers(lambda share: _add(job, embedding, share), documents, WORKERS)
    searchable_s = watch()
    _initialize(_store(job, hnsw=True))
    return Ingested(
        searchable_s,
        watch(),
        {"order": "rows and full-text index, then HNSW", "processes": WORKERS, "vectors": "halfvec"},
    )


def _add(job: Job, embedding: WordLlamaEmbedding, documents: Sequence[Document]) -> None:
    pipeline = IngestionPipeline(
        transformations=[
            SentenceSplitter(
                chunk_size=CHUNK_TOKENS,
                chunk_overlap=OVERLAP_TOKENS,
                # Its length is all that is asked for.
                tokenizer=lambda text: range(count_tokens(text)),
            ),
            embedding,
        ],
        vector_store=_store(job),
        disable_cache=True,
    )
    for batch in batches(documents, BATCH_CHARACTERS):
        pipeline.run(
            documents=[
                LlamaDocument(
                    id_=document.id,
                    text=document.text,
                    metadata={"title": document.title, "collection": document.collection},
                    excluded_embed_metadata_keys=METADATA,
                    excluded_llm_metadata_keys=METADATA,
                )
                for document in batch
            ]
        )


class LlamaIndexSearcher:
    """Vector and sparse retrievers, fused."""

    def __init__(self, store: PGVectorStore, collection: str | None) -> None:
        index = VectorStoreIndex.from_vector_store(store, embed_model=WordLlamaEmbedding())
        filters = (
            None
            if collection is None
            else MetadataFilters(filters=[MetadataFilter(key="collection", value=collection)])
        )

        def retriever(mode: str) -> BaseRetriever:
            return index.as_retriever(
                vector_store_query_mode=mode, similarity_top_k=HITS, sparse_top_k=HITS, filters=filters
            )

        self._vectors = retriever("default")
        self._fused = QueryFusionRetriever(
            [self._vectors, retriever("sparse")],
            llm=MockLLM(),
            similarity_top_k=HITS,
            num_queries=1,
            mode="reciprocal_rerank",
            use_async=True,
        )

    async def search(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        return _texts(await self._fused.aretrieve(question))

    async def nearest(self, question: str) -> Sequence[str]:
        """See `Searcher`."""
        return _texts(await self._vectors.aretrieve(question))


@asynccontextmanager
async def open_searcher(job: Job) -> AsyncIterator[LlamaIndexSearcher]:
    """On its asyncpg pool."""
    store = _store(job)
    yield LlamaIndexSearcher(store, job.collection)
    await store.close()


def _store(job: Job, *, hnsw: bool = False) -> PGVectorStore:
    hnsw_kwargs: dict[str, Any] = {
        "hnsw_m": HNSW_M,
        "hnsw_ef_construction": HNSW_EF_CONSTRUCTION,
        "hnsw_ef_search": HNSW_EF_SEARCH,
        "hnsw_dist_method": "halfvec_cosine_ops",
    }
    return PGVectorStore.from_params(
        connection_string=job.dsn_for("psycopg2"),
        async_connection_string=job.dsn_for("asyncpg"),
        table_name=NAME,
        embed_dim=DIMENSIONS,
        hybrid_search=True,
        text_search_config="english",
        use_jsonb=True,
        use_halfvec=True,
        cache_ok=True,
        indexed_metadata_keys={("collection", "text")},
        hnsw_kwargs=hnsw_kwargs if hnsw else None,
        create_engine_kwargs={"pool_size": 32},
    )


def _initialize(store: PGVectorStore) -> None:
    # What its first use does, as there is no public door to it alone.
    store._initialize()


def _texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [node.get_content() for node in nodes]


if __name__ == "__main__":
    main(
        ingest,
        open_searcher,
        table=f"data_{NAME}",
        text="text",
        embedding="embedding",
        collection="metadata_->>'collection'",
        packages=["llama-index-core", "llama-index-vector-stores-postgres", "sqlalchemy", "psycopg2-binary", "asyncpg"],
    )
