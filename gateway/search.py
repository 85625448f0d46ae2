"""Search: by vector, by text, or by both fused."""

import base64
import binascii
import hashlib
import time
from typing import Annotated, Any, Self

import asyncpg
import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints

from db.search import SEARCH_DEPTH, Mode, search
from gateway.documents.models import CHUNK_ID, heading_path
from gateway.highlights import Highlighter
from gateway.problems import InvalidCursor, responses
from gateway.state import AFTER_POSITION_ERRORS, AfterPosition, StateOf, Tenant
from schemas.events import SearchFilters

router = APIRouter(prefix="/v1/search", tags=["search"])


class SearchRequest(BaseModel):
    """A search."""

    query: Annotated[
        str, StringConstraints(min_length=1, max_length=2_000, pattern=r"^[^\x00]*$", strip_whitespace=True)
    ]
    mode: Mode = Field(default=Mode.HYBRID, description="`hybrid` fuses `vector` and `text` by reciprocal rank.")
    filters: SearchFilters = SearchFilters()
    limit: int = Field(default=10, ge=1, le=100)
    hits_per_document: int | None = Field(
        default=None,
        ge=1,
        le=2 * SEARCH_DEPTH,
        description="At most so many of one document, so that a long one does not crowd the rest out.",
    )
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")

    def fingerprint(self) -> str:
        """The same for all pages of one search."""
        same = self.model_dump_json(exclude={"cursor", "limit"}).encode()
        return hashlib.sha256(same).hexdigest()[:16]


class Span(BaseModel):
    """A stretch of a text, in characters."""

    start: int
    end: int


class Hit(BaseModel):
    """A chunk that was found. ``text`` is the document's extracted text from ``start`` to ``end``."""

    document_id: str
    revision: int
    chunk_id: str = Field(description=CHUNK_ID)
    ordinal: int
    title: str | None
    filename: str | None
    media_type: str | None
    collection: str | None
    tags: list[str]
    metadata: dict[str, Any]
    page: int | None
    heading_path: list[str]
    start: int
    end: int
    text: str
    highlights: list[Span] = Field(description="Where in `text` words of the query stand.")
    score: float
    vector_rank: int | None
    text_rank: int | None

    @classmethod
    def of(cls, row: asyncpg.Record, highlighter: Highlighter) -> Self:
        """From a row of `db.search`."""
        values = {name: row[name] for name in cls.model_fields.keys() & row.keys()}
        return cls(
            **values,
            heading_path=heading_path(row["headings"]),
            start=row["start_char"],
            end=row["end_char"],
            highlights=[Span(start=start, end=end) for start, end in highlighter.spans(row["text"])],
        )


class SearchResponse(BaseModel):
    """What was found, best first."""

    hits: list[Hit]
    next_cursor: str | None = Field(description="For the next page; null when there is no more.")
    took_ms: float


@router.post(
    "",
    response_model=SearchResponse,
    summary="Search",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, InvalidCursor),
)
async def search_chunks(state: StateOf, tenant: Tenant, request: SearchRequest) -> SearchResponse:
    """The best chunks among the visible revisions of the tenant's documents."""
    started = time.perf_counter()
    offset = _offset(request)
    [embedding] = await state.embedder.embed([request.query])
    rows = await search(
        state.pool,
        tenant,
        request.query,
        embedding,
        state.embedder.name,
        mode=request.mode,
        filters=request.filters,
        limit=request.limit + 1,
        offset=offset,
        hits_per_document=request.hits_per_document,
    )
    more = len(rows) > request.limit
    highlighter = Highlighter((rows and rows[0]["words"]) or ())
    return SearchResponse(
        hits=[Hit.of(row, highlighter) for row in rows[: request.limit]],
        next_cursor=_cursor(request, offset + request.limit) if more else None,
        took_ms=round((time.perf_counter() - started) * 1_000, 2),
    )


def _cursor(request: SearchRequest, offset: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([request.fingerprint(), offset])).decode()


def _offset(request: SearchRequest) -> int:
    if request.cursor is None:
        return 0
    try:
        fingerprint, offset = orjson.loads(base64.urlsafe_b64decode(request.cursor))
        valid = fingerprint == request.fingerprint() and 0 <= int(offset) <= 2 * SEARCH_DEPTH
    except (ValueError, TypeError, OverflowError, binascii.Error):
        valid = False
    if not valid:
        raise InvalidCursor
    return int(offset)
