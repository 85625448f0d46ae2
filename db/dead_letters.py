"""`dead_letters`: what could not be processed, with its reason, and what became of it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import Failure

_queries = load("dead_letters")

NOBODY = "*"
"""The tenant of letters that name none."""
Headers = Sequence[tuple[str, bytes | None]]


class LetterState(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that could not be processed, as it was read; sent to its topic once more, it is a new attempt.

    That of a document is the record that submitted it, whichever stage gave up. ``value_key`` names the blob that has
    the value where that is too large.
    """

    tenant_id: str
    topic: str
    partition: int
    position: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    written_at: datetime
    failure: Failure
    document_id: str | None = None
    revision: int | None = None
    value_key: str | None = None

    @property
    def letter_id(self) -> str:
        """Where the record stands, so that the same one never makes two letters."""
        return letter_id(self.topic, self.partition, self.position)


def letter_id(topic: str, partition: int, position: int) -> str:
    """The id of the letter of a record."""
    return f"{topic}-{partition}-{position}"


async def add(connection: "Connection | Pool", letter: Letter) -> None:
    """Keep a letter; the same one again changes nothing."""
    await _queries.add_letter(
        connection,
        tenant_id=letter.tenant_id,
        letter_id=letter.letter_id,
        document_id=letter.document_id,
        revision=letter.revision,
        stage=letter.failure.stage,
        error_type=letter.failure.type,
        error_message=letter.failure.message,
        attempt=letter.failure.attempt,
        topic=letter.topic,
        partition=letter.partition,
        position=letter.position,
        key=letter.key,
        value=letter.value,
        value_key=letter.value_key,
        headers=[[name, None if value is None else base64.b64encode(value).decode()] for name, value in letter.headers],
        written_at=letter.written_at,
    )


def headers_of(row: asyncpg.Record) -> list[tuple[str, bytes | None]]:
    """The headers of the record in a letter's row; a value may be none."""
    return [(name, None if value is None else base64.b64decode(value)) for name, value in row["headers"]]


async def unpublished(connection: Connection, limit: int) -> Sequence[asyncpg.Record]:
    """Letters that the topic does not have yet, kept from others until the transaction ends."""
    return [row async for row in _queries.unpublished(connection, limit=limit)]


async def published(connection: Connection, tenant_id: str, letter_id: str) -> None:
    """The topic has a letter."""
    await _queries.published(connection, tenant_id=tenant_id, letter_id=letter_id)


async def lock(connection: Connection, tenant_id: str, letter_id: str) -> asyncpg.Record | None:
    """A letter's row, locked until commit; None if there is none."""
    row: asyncpg.Record | None = await _queries.lock_letter(connection, tenant_id=tenant_id, letter_id=letter_id)
    return row


async def close(
    connection: Connection, tenant_id: str, letter_id: str, state: LetterState, position: int | None = None
) -> asyncpg.Record | None:
    """Note what was done with an open letter and give its row; None if it is not open.

    ``position``: of the record that is the new attempt.
    """
    row: asyncpg.Record | None = await _queries.close_letter(
        connection, tenant_id=tenant_id, letter_id=letter_id, state=state, position=position
    )
    return row


async def get(pool: Pool, tenant_id: str, letter_id: str) -> asyncpg.Record | None:
    """One letter's row; None if there is none."""
    row: asyncpg.Record | None = await _queries.get_letter(pool, tenant_id=tenant_id, letter_id=letter_id)
    return row


async def page(
    pool: Pool,
    tenant_id: str,
    *,
    limit: int,
    before: tuple[datetime, str] | None = None,
    state: LetterState | None = None,
    document_id: str | None = None,
    error_type: str | None = None,
    stage: str | None = None,
) -> Sequence[asyncpg.Record]:
    """Letters, newest first, from the one behind ``before`` (its ``failed_at`` and ``letter_id``) on."""
    before_at, before_id = before or (None, None)
    return [
        row
        async for row in _queries.list_letters(
            pool,
            tenant_id=tenant_id,
            limit=limit,
            before_at=before_at,
            before_id=before_id,
            state=state,
            document_id=document_id,
            error_type=error_type,
            stage=stage,
        )
    ]
