"""`conversations` and `conversation_messages`."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import Citation

_queries = load("conversations")

TITLE_CHARS_MAX = 80


async def add_message(
    connection: Connection,
    *,
    tenant_id: str,
    conversation_id: str,
    request_id: str,
    role: str,
    text: str,
    citations: Sequence[Citation],
    at: datetime,
) -> str:
    """Store a message and return its id; the same message again changes nothing."""
    message_id = f"{request_id}-{role}"
    await _queries.touch_conversation(
        connection, tenant_id=tenant_id, conversation_id=conversation_id, title=text[:TITLE_CHARS_MAX], at=at
    )
    await _queries.add_message(
        connection,
        tenant_id=tenant_id,
        conversation_id=conversation_id,
        created_at=at,
        message_id=message_id,
        request_id=request_id,
        role=role,
        text=text,
        citations=[citation.model_dump(mode="json") for citation in citations],
    )
    return message_id


async def history(
    pool: Pool, tenant_id: str, conversation_id: str, *, before: datetime, limit: int
) -> Sequence[asyncpg.Record]:
    """The last messages before a moment, oldest first."""
    newest_first = [
        row
        async for row in _queries.last_messages(
            pool, tenant_id=tenant_id, conversation_id=conversation_id, before=before, limit=limit
        )
    ]
    return newest_first[::-1]


async def get(pool: Pool, tenant_id: str, conversation_id: str) -> asyncpg.Record | None:
    """A conversation's head; None if there is none."""
    row: asyncpg.Record | None = await _queries.get_conversation(
        pool, tenant_id=tenant_id, conversation_id=conversation_id
    )
    return row


async def answer_to(
    connection: "Connection | Pool", tenant_id: str, conversation_id: str, request_id: str
) -> asyncpg.Record | None:
    """The stored answer to a request; None if there is none yet."""
    row: asyncpg.Record | None = await _queries.get_answer(
        connection, tenant_id=tenant_id, conversation_id=conversation_id, request_id=request_id
    )
    return row
