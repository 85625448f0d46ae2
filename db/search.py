"""Search over the visible chunks: by vector, by text, or both fused."""

from collections.abc import Sequence
from enum import StrEnum

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from db.pool import Pool
from db.queries import load
from schemas.events import SearchFilters

SEARCH_DEPTH = 100
"""Candidates per ranking."""

_queries = load("search")


class Mode(StrEnum):
    """Which rankings a search uses."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


async def search(
    pool: Pool,
    tenant_id: str,
    text: str,
    embedding: NDArray[np.float16],
    embedder: str,
    *,
    mode: Mode,
    filters: SearchFilters,
    limit: int,
    offset: int = 0,
    hits_per_document: int | None = None,
) -> Sequence[asyncpg.Record]:
    """The best chunks of one snapshot, best first; at most `SEARCH_DEPTH` candidates per ranking.

    ``embedding`` is the query's vector, (dimensions,), made by ``embedder``.
    """
    return [
        row
        async for row in _queries.search(
            pool,
            tenant_id=tenant_id,
            text=text,
            embedding=HalfVector(embedding),
            embedder=embedder,
            by_vector=mode is not Mode.TEXT,
            by_text=mode is not Mode.VECTOR,
            document_ids=filters.document_ids and list(filters.document_ids),
            collection=filters.collection,
            tags=filters.tags and list(filters.tags),
            media_types=filters.media_types and list(filters.media_types),
            metadata=filters.metadata,
            depth=SEARCH_DEPTH,
            limit=limit,
            offset=offset,
            hits_per_document=hits_per_document,
        )
    ]
