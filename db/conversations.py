"""`conversations` and `conversation_messages`."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import Citation

_queries = load("conversations")

TITLE_CHARS_MAX = 80
NOTHING_QUOTED = {"quote": "", "title": None, "filename": None, "heading_path": (), "withdrawn": True}
WITHDRAWN = "[withdrawn]"
"""What stands in a message where it quoted a document that was deleted since."""


async def touch(connection: Connection, tenant_id: str, conversation_id: str, title: str, at: datetime) -> None:
    """Note that a conversation went on, or begin it; its row stays locked until commit."""
    await _queries.touch_conversation(
        connection, tenant_id=tenant_id, conversation_id=conversation_id, title=title[:TITLE_CHARS_MAX], at=at
    )


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
    await touch(connection, tenant_id, conversation_id, text, at)
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


async def withdraw(connection: Connection, tenant_id: str, document_id: str) -> None:
    """Take what messages quote of a deleted document out of them; that they did stays to be seen."""
    rows = [row async for row in _queries.quoting(connection, tenant_id=tenant_id, document_id=document_id)]
    for row in rows:
        citations = [Citation.model_validate(citation) for citation in row["citations"]]
        text, citations = without_quotes(row["text"], citations, {document_id})
        await _queries.rewrite_message(
            connection,
            tenant_id=tenant_id,
            conversation_id=row["conversation_id"],
            created_at=row["created_at"],
            message_id=row["message_id"],
            text=text,
            citations=[citation.model_dump(mode="json") for citation in citations],
        )


def without_quotes(
    text: str, citations: Sequence[Citation], document_ids: Collection[str]
) -> tuple[str, list[Citation]]:
    """A message's text and citations without the quotes of these documents; their numbers stay."""
    for quote in sorted(
        (citation.quote for citation in citations if citation.document_id in document_ids and citation.quote),
        key=len,
        reverse=True,
    ):
        # An answer may break its lines elsewhere than the document.
        text = re.sub(r"\s+".join(map(re.escape, quote.split())), WITHDRAWN, text)
    return text, [
        citation.model_copy(update=NOTHING_QUOTED) if citation.document_id in document_ids else citation
        for citation in citations
    ]
