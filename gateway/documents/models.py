"""What the document operations take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import asyncpg
from pydantic import BaseModel, Field, StringConstraints

from db.chunks import HEADING_SEPARATOR
from schemas.events import DocumentAttributes, DocumentId, Failure, State

DOCUMENT_TEXT_CHARS_MAX = 4_000_000
CHUNK_ID = "Unique in its document; the same in every revision that has the same text under the same headings."


class TextDocument(DocumentAttributes):
    """A document given as text in the request itself."""

    document_id: DocumentId | None = Field(
        default=None, description="Yours, to replace the document later; made up if absent."
    )
    text: Annotated[str, StringConstraints(min_length=1, max_length=DOCUMENT_TEXT_CHARS_MAX)]
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"


class Accepted(BaseModel):
    """A write that the log has acknowledged."""

    document_id: str
    revision: int = Field(description="Grows with every write to the document.")
    position: str = Field(description="Give it to a read as X-Millrace-Position, and the read will see this write.")
    status_url: str
    events_url: str


class Status(BaseModel):
    """Where a document's newest revision stands."""

    document_id: str
    revision: int = Field(description="The newest revision.")
    state: State
    visible_revision: int | None = Field(description="The revision that searches see, if any.")
    chunks_total: int | None = None
    chunks_done: int = 0
    progress: float = Field(description="From 0 to 1.")
    attempt: int = 1
    error: Failure | None = None
    received_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `db.documents`."""
        return cls(
            document_id=row["document_id"],
            revision=row["newest_revision"],
            state=State(row["state"]),
            visible_revision=row["revision"],
            chunks_total=row["chunks_total"],
            chunks_done=row["chunks_done"],
            progress=progress(State(row["state"]), row["chunks_done"], row["chunks_total"]),
            attempt=row["attempt"],
            error=row["error"] and Failure.model_validate(row["error"]),
            received_at=row["received_at"],
            updated_at=row["updated_at"],
        )


def progress(state: State, chunks_done: int, chunks_total: int | None) -> float:
    """How much of the way is behind a revision: parsing is taken as its first tenth, embedding as the rest."""
    if state.final:
        return 1.0
    if not chunks_total:
        return 0.0
    return round(0.1 + 0.89 * chunks_done / chunks_total, 3)


class Document(BaseModel):
    """A document, as searches see it, with the state of its newest revision."""

    document_id: str
    revision: int | None = Field(description="The visible revision; null until one was indexed.")
    filename: str | None
    title: str | None
    media_type: str | None
    collection: str | None
    tags: list[str]
    metadata: dict[str, Any]
    size_bytes: int | None
    text_chars: int | None
    page_count: int | None
    chunk_count: int
    indexed_at: datetime | None
    status: Status

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `db.documents`."""
        return cls(**{name: row[name] for name in cls.model_fields if name != "status"}, status=Status.of(row))


class DocumentPage(BaseModel):
    """Some documents, in the order of their ids."""

    documents: list[Document]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class ChunkOut(BaseModel):
    """A chunk; ``text`` is the document's extracted text from ``start`` to ``end``."""

    chunk_id: str = Field(description=CHUNK_ID)
    ordinal: int
    page: int | None
    heading_path: list[str]
    start: int
    end: int
    token_count: int
    text: str

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `db.chunks`."""
        return cls(
            chunk_id=row["chunk_id"],
            ordinal=row["ordinal"],
            page=row["page"],
            heading_path=heading_path(row["headings"]),
            start=row["start_char"],
            end=row["end_char"],
            token_count=row["token_count"],
            text=row["text"],
        )


class ChunkPage(BaseModel):
    """Some chunks of the visible revision, in order."""

    document_id: str
    revision: int | None
    chunks: list[ChunkOut]
    next_cursor: str | None


def heading_path(headings: str) -> list[str]:
    """The stored headings, one by one."""
    return headings.split(HEADING_SEPARATOR) if headings else []
