"""pgai's vectorizer: Postgres queues what changed in a table, workers split, embed over HTTP, and write.

Set up as its documentation says: `pgai.install`, a source table, `ai.create_vectorizer` (by its own
`CreateVectorizer`) with `loading_column`, `chunking_recursive_character_text_splitter` and `embedding_openai`, then
`pgai vectorizer worker --once`. Its embedders are all services, so it has the endpoint. The HNSW index is made by hand
after the rows, as its documentation has it where TimescaleDB does not schedule that; there is no full text. It searches
by the SQL statement of its documentation, on the view that joins chunks and documents, which is less work than the
hybrid search of others.

Tuned. The documents lie in the source table before the clock starts; the vectorizer, which puts them all into its
queue, is made within. Two workers (one for each core), which is how its documentation scales it, each with
`CONCURRENCY` tasks and a connection for each, on uvloop, and forked with all imported: the command line imports for a
second. Other numbers of tasks and of documents in a batch took about the same processor time; batches are small enough
that no task ends long before the others. The splitter counts characters and is given what 256 and 32 tokens take in
this corpus on average. Questions are embedded in process and asked over asyncpg, neither of which is pgai's own.
"""

import os
from collections.abc import Sequence
from functools import partial

import ijson  # noqa: F401 - the worker would import these four within the measured time
import langchain_text_splitters  # noqa: F401
import openai  # noqa: F401
import pgai
import psycopg
import tiktoken  # noqa: F401
import uvloop
from pgai.cli import async_run_vectorizer_worker
from pgai.vectorizer import CreateVectorizer
from pgai.vectorizer.configuration import (
    ChunkingRecursiveCharacterTextSplitterConfig,
    EmbeddingOpenaiConfig,
    LoadingColumnConfig,
    ProcessingDefaultConfig,
)

from benchmarks.peers.door import (
    CHUNK_TOKENS,
    DIMENSIONS,
    HNSW_EF_CONSTRUCTION,
    HNSW_M,
    OVERLAP_TOKENS,
    Document,
    Ingested,
    Job,
    Stopwatch,
    count_tokens,
    main,
    run_workers,
)
from benchmarks.peers.statement import open_statement

SOURCE = "documents"
CHUNKS = "documents_embedding_store"
VIEW = "documents_embedding"
"""The names that pgai gives to the table of chunks and to the view that joins it with the source."""

WORKERS = 2
CONCURRENCY = 2
BATCH_DOCUMENTS = 10
SAMPLE_DOCUMENTS = 200
LOG_LEVEL = "WARN"
POLL_INTERVAL_S = 60


def ingest(job: Job) -> Ingested:
    """The queue, the rows, then the index."""
    documents = job.documents()
    sample = "".join(document.text for document in documents[:SAMPLE_DOCUMENTS])
    characters_per_token = len(sample) / count_tokens(sample)
    os.environ["OPENAI_API_KEY"] = "none"  # The worker wants one.
    pgai.install(job.dsn)
    with psycopg.connect(job.dsn, autocommit=True) as connection:
        _fill(connection, documents)
        watch = Stopwatch()
        connection.execute(_vectorizer(job, characters_per_token).to_sql().encode())
        run_workers(lambda _: uvloop.run(_work(job)), documents, WORKERS)
        searchable_s = watch()
        connection.execute(
            f"CREATE INDEX ON {CHUNKS} USING hnsw (embedding vector_cosine_ops) "
            f"WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION})"
        )
        return Ingested(
            searchable_s,
            watch(),
            {
                "order": "rows, then HNSW; no full text",
                "embedder": job.embedder,
                "characters per token": round(characters_per_token, 3),
                "processes": WORKERS,
                "concurrency in each": CONCURRENCY,
                "documents in a batch": BATCH_DOCUMENTS,
            },
        )


def _fill(connection: psycopg.Connection, documents: Sequence[Document]) -> None:
    connection.execute(f"CREATE TABLE {SOURCE} (id text PRIMARY KEY, title text, collection text, text text NOT NULL)")
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {SOURCE} (id, title, collection, text) FROM STDIN") as copy,
    ):
        for document in documents:
            copy.write_row((document.id, document.title, document.collection, document.text))
    connection.execute(f"ANALYZE {SOURCE}")


def _vectorizer(job: Job, characters_per_token: float) -> CreateVectorizer:
    return CreateVectorizer(
        source=SOURCE,
        loading=LoadingColumnConfig(column_name="text"),
        chunking=ChunkingRecursiveCharacterTextSplitterConfig(
            chunk_size=round(CHUNK_TOKENS * characters_per_token),
            chunk_overlap=round(OVERLAP_TOKENS * characters_per_token),
        ),
        embedding=EmbeddingOpenaiConfig(model="wordllama", dimensions=DIMENSIONS, base_url=job.embedder),
        processing=ProcessingDefaultConfig(batch_size=BATCH_DOCUMENTS),
    )


async def _work(job: Job) -> None:
    """`pgai vectorizer worker --once`: it ends the process with 1 where it fails."""
    await async_run_vectorizer_worker(
        job.dsn, [], LOG_LEVEL, POLL_INTERVAL_S, once=True, concurrency=CONCURRENCY, exit_on_error=True
    )


if __name__ == "__main__":
    main(
        ingest,
        partial(open_statement, text="chunk", source=VIEW),
        table=VIEW,
        text="chunk",
        embedding="embedding",
        collection="collection",
        packages=["pgai", "asyncpg", "pgvector", "openai", "langchain-text-splitters"],
    )
