"""What the dead-letter operations take and give."""

import base64
from datetime import datetime
from typing import Annotated, Self

import asyncpg
from pydantic import BaseModel, Field

from db.dead_letters import LetterState, headers_of
from schemas.events import DocumentId

LETTERS_AT_ONCE_MAX = 1_000


class LetterAction(BaseModel):
    """Something that was done with a letter."""

    at: datetime
    action: LetterState
    position: int | None = Field(default=None, description="Of the new attempt, or of what took the letter's place.")


class Letter(BaseModel):
    """A record that could not be processed."""

    letter_id: str
    state: LetterState
    document_id: str | None
    revision: int | None
    stage: str
    error_type: str
    error_message: str
    attempt: int
    topic: str
    partition: int
    position: int
    written_at: datetime
    failed_at: datetime
    history: list[LetterAction] = Field(description="What was done with it, oldest first.")

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `db.dead_letters`."""
        return cls(**{name: row[name] for name in Letter.model_fields})


class Bytes(BaseModel):
    """Bytes as text where they are UTF-8, else in Base64."""

    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        """In the form that they have."""
        try:
            return cls(text=data.decode())
        except UnicodeDecodeError:
            return cls(base64=base64.b64encode(data).decode())


class RecordHeader(Bytes):
    """A header of a record."""

    name: str


class WholeLetter(Letter):
    """A letter with the record that it is about."""

    key: Bytes | None
    value: Bytes | None = Field(description="Null also where it is too large to be shown.")
    headers: list[RecordHeader]

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `db.dead_letters`."""
        return cls(
            **{name: row[name] for name in Letter.model_fields},
            key=None if row["key"] is None else Bytes.of(row["key"]),
            value=None if row["value"] is None else Bytes.of(row["value"]),
            headers=[
                RecordHeader(name=name, **({} if value is None else dict(Bytes.of(value))))
                for name, value in headers_of(row)
            ],
        )


class LetterPage(BaseModel):
    """Some letters, newest first."""

    dead_letters: list[Letter]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class LetterFilter(BaseModel):
    """Which open letters are meant; those that meet everything that is given."""

    document_id: DocumentId | None = None
    error_type: str | None = None
    stage: str | None = None
    limit: Annotated[int, Field(ge=1, le=LETTERS_AT_ONCE_MAX, description="At most so many, the newest.")] = 100


class Replayed(BaseModel):
    """A letter that was sent again."""

    letter_id: str
    document_id: str | None
    position: str | None = Field(
        description="Of the new attempt, for reads to wait for; null where the record is about no document."
    )


class Discarded(BaseModel):
    """A letter that was given up."""

    letter_id: str


class ReplayedLetters(BaseModel):
    """Letters that were sent again."""

    replayed: list[Replayed]
    more: bool = Field(description="Whether the limit left others open.")


class DiscardedLetters(BaseModel):
    """Letters that were given up."""

    discarded: list[Discarded]
    more: bool = Field(description="Whether the limit left others open.")
