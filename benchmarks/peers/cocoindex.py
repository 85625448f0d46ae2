"""CocoIndex 1.x with its Postgres target.

Set up as its documentation and its text embedding example say: `RecursiveSplitter`, one memoised component for each
document mounted by `mount_each`, rows declared on a `mount_table_target`, `declare_vector_index(method="hnsw")`. It
has no search of its own; its documentation searches by one SQL statement over an asyncpg pool, and has no full text: so
does this, and it does less work for it than the others.

Tuned. The documents come from memory; the chunks of a document are embedded in one call and keyed by their number, not
mounted one by one; rows go out in statements as large as the engine batches them; the splitter, which counts
bytes, is given what 256 and 32 tokens take in this corpus on average. Vectors are float16, so the column is
`halfvec`. The index is declared in a second update, after the rows: the first leaves out what the second adds, and
documents that did not change are skipped. The state (LMDB) lies in a temporary folder.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import asyncpg
import cocoindex as coco
import numpy as np
import uvloop
from cocoindex.connectors import postgres
from cocoindex.ops.text import RecursiveSplitter
from cocoindex.resources.schema import VectorSchema
from numpy.typing import NDArray

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
    WordLlama,
    count_tokens,
    main,
)
from benchmarks.peers.statement import open_statement

TABLE = "chunks"
POOL_SIZE = 8
SAMPLE_DOCUMENTS = 200

POOL = coco.ContextKey[asyncpg.Pool]("pool")

wordllama = WordLlama()
splitter = RecursiveSplitter()


@dataclass
class Row:
    """A chunk in the table."""

    document: str
    number: int
    title: str
    collection: str
    text: str
    embedding: Annotated[NDArray[np.float16], VectorSchema(dtype=np.dtype(np.float16), size=DIMENSIONS)]


@coco.fn(memo=True)
async def index_document(document: Document, table: postgres.TableTarget[Row], bytes_per_token: float) -> None:
    """Split, embed and declare."""
    chunks = splitter.split(
        document.text,
        chunk_size=round(CHUNK_TOKENS * bytes_per_token),
        chunk_overlap=round(OVERLAP_TOKENS * bytes_per_token),
        language="markdown",
    )
    vectors = wordllama.embed([chunk.text for chunk in chunks]).astype(np.float16)
    for number, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True)):
        table.declare_row(
            row=Row(document.id, number, document.title, document.collection, chunk.text, vector),
        )


@coco.fn
async def index_corpus(documents: Sequence[Document], bytes_per_token: float, *, hnsw: bool) -> None:
    """The table, its index perhaps, and a component for each document."""
    table = await postgres.mount_table_target(
        POOL,
        table_name=TABLE,
        table_schema=await postgres.TableSchema.from_class(Row, primary_key=["document", "number"]),
    )
    if hnsw:
        table.declare_vector_index(
            column="embedding", metric="cosine", method="hnsw", m=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION
        )
    await coco.mount_each(index_document, ((document.id, document) for document in documents), table, bytes_per_token)


def ingest(job: Job) -> Ingested:
    """Rows, then the index."""
    documents = job.documents()
    sample = "".join(document.text for document in documents[:SAMPLE_DOCUMENTS])
    return uvloop.run(_ingest(job, documents, len(sample.encode()) / count_tokens(sample)))


async def _ingest(job: Job, documents: Sequence[Document], bytes_per_token: float) -> Ingested:
    async with asyncpg.create_pool(job.dsn, min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
        with tempfile.TemporaryDirectory() as state:
            context = coco.ContextProvider()
            context.provide(POOL, pool)
            environment = coco.Environment(
                coco.Settings.from_env(db_path=Path(state) / "state"), context_provider=context
            )
            watch = Stopwatch()

            async def update(*, hnsw: bool) -> None:
                app = coco.App(
                    coco.AppConfig(name="bench", environment=environment),
                    index_corpus,
                    documents,
                    bytes_per_token,
                    hnsw=hnsw,
                )
                await app.update()

            await update(hnsw=False)
            searchable_s = watch()
            await update(hnsw=True)
            return Ingested(
                searchable_s,
                watch(),
                {
                    "order": "rows, then HNSW; no full text",
                    "vectors": "halfvec",
                    "bytes per token": round(bytes_per_token, 3),
                    "pool": POOL_SIZE,
                },
            )


if __name__ == "__main__":
    main(
        ingest,
        partial(open_statement, text="text", source=TABLE, vectors=np.float16),
        table=TABLE,
        text="text",
        embedding="embedding",
        collection="collection",
        packages=["cocoindex", "asyncpg", "pgvector"],
    )
