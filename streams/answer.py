"""Answer: a question becomes a stream of text with citations, kept in its conversation."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from db import conversations, documents, generations
from db.chunks import HEADING_SEPARATOR
from db.live import Live, Reader
from db.pool import Connection
from db.search import Mode, search
from engine.answer import Answerer, Passage, Turn, bounded
from engine.cite import Citer
from engine.embed import Embedder
from schemas.errors import InvalidEvent, MillraceError
from schemas.events import ChatCompleted, ChatDelta, ChatFailed, ChatRequested, Citation, Failure, Place, SearchFilters
from schemas.topics import CHAT_EVENTS, CHAT_REQUESTED
from schemas.wire import decode
from streams.outbox import Outbox
from streams.record import Record
from streams.stage import Stage

PASSAGES_MAX = 8
HISTORY_MESSAGES_MAX = 10


class GenerationChanged(MillraceError):
    """Another generation of the index became the live one at this moment."""

    type = "generation-changed"
    transient = True


@dataclass(frozen=True, slots=True)
class Means:
    """What answers are made with, beside the index."""

    embedder: Embedder
    answerer: Answerer

    async def aclose(self) -> None:
        """Let go of both."""
        await self.answerer.aclose()
        await self.embedder.aclose()


class AnswerStage(Stage):
    """``chat.requested`` → ``chat.events`` and the conversation's tables."""

    name = "answer"
    topic = CHAT_REQUESTED

    def __init__(self, outbox: Outbox, attempts_max: int, live: Live[Means]) -> None:
        super().__init__(outbox, attempts_max)
        self._live = live

    async def handle(self, records: Sequence[Record]) -> None:
        """Answer one question, or tell the stored answer again."""
        [record] = records
        request = _read(record)
        async with self._live.reading() as reader:
            stored = await conversations.answer_to(
                reader.pool, request.tenant_id, request.conversation_id, request.request_id
            )
            completed = _stored(request, stored) if stored else await self._answer(record, request, reader)
        await self.outbox.emit(CHAT_EVENTS, record, [(completed, None)])

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Keep the question, and tell whoever waits that no answer will come."""
        async with self._live.reading() as reader:
            await self.outbox.of(reader.pool, reader.generation.number).keep(record, failure)
        try:
            request = _read(record)
        except InvalidEvent:
            return  # nobody is known who could wait
        failed = ChatFailed(
            tenant_id=request.tenant_id,
            conversation_id=request.conversation_id,
            request_id=request.request_id,
            error=failure,
        )
        await self.outbox.emit(CHAT_EVENTS, record, [(failed, None)])

    async def _answer(self, record: Record, request: ChatRequested, reader: Reader[Means]) -> ChatCompleted:
        # First and by itself: also a question that gets no answer was asked.
        async with reader.pool.acquire() as connection, connection.transaction():
            await self._add_message(connection, request, "user", request.message, (), record.at)
        passages = await self._retrieve(request, reader)
        history = [
            Turn(role=message["role"], text=message["text"])
            for message in await conversations.history(
                reader.pool, request.tenant_id, request.conversation_id, before=record.at, limit=HISTORY_MESSAGES_MAX
            )
        ]
        citer = Citer(request.message, passages)
        told: list[str] = []
        async with aclosing(bounded(reader.made.answerer.answer(request.message, passages, history))) as pieces:
            async for piece in pieces:
                await self._tell(record, request, told, citer.feed(piece))
        await self._tell(record, request, told, citer.end())
        return await self._store(record, request, "".join(told), citer.citations)

    async def _tell(self, record: Record, request: ChatRequested, told: list[str], text: str) -> None:
        """Send what more there is of an answer."""
        if not text:
            return
        delta = ChatDelta(
            tenant_id=request.tenant_id,
            conversation_id=request.conversation_id,
            request_id=request.request_id,
            index=len(told),
            text=text,
        )
        await self.outbox.emit(CHAT_EVENTS, record, [(delta, None)])
        told.append(text)

    async def _retrieve(self, request: ChatRequested, reader: Reader[Means]) -> list[Passage]:
        embedder = reader.made.embedder
        [embedding] = await embedder.embed([request.message])
        rows = await search(
            reader.pool,
            request.tenant_id,
            request.message,
            embedding,
            embedder.name,
            mode=Mode.HYBRID,
            filters=request.filters or SearchFilters(),
            limit=PASSAGES_MAX,
        )
        return [_passage(row) for row in rows]

    async def _store(
        self, record: Record, request: ChatRequested, answer: str, citations: tuple[Citation, ...]
    ) -> ChatCompleted:
        """Keep an answer and tell it as it is kept: that of another worker, if one was first with this question."""
        # The question's time plus a moment, so that it is the same on every run over this record.
        at = record.at + timedelta(microseconds=1)
        async with self._live.reading() as reader, reader.pool.acquire() as connection, connection.transaction():
            if await generations.hold_live(connection) != reader.generation.number:
                raise GenerationChanged
            await conversations.touch(connection, request.tenant_id, request.conversation_id, request.message, at)
            stored = await conversations.answer_to(
                connection, request.tenant_id, request.conversation_id, request.request_id
            )
            if stored:
                return _stored(request, stored)
            # Documents may have been deleted since they were found; from here on a deletion waits for the commit.
            gone = await documents.gone(connection, request.tenant_id, {citation.document_id for citation in citations})
            answer, kept = conversations.without_quotes(answer, citations, gone)
            message_id = await self._add_message(connection, request, "assistant", answer, kept, at)
        return _completed(request, message_id, answer, tuple(kept))

    async def _add_message(
        self,
        connection: Connection,
        request: ChatRequested,
        role: str,
        text: str,
        citations: Sequence[Citation],
        at: datetime,
    ) -> str:
        return await conversations.add_message(
            connection,
            tenant_id=request.tenant_id,
            conversation_id=request.conversation_id,
            request_id=request.request_id,
            role=role,
            text=text,
            citations=citations,
            at=at,
        )


def _passage(row: asyncpg.Record) -> Passage:
    return Passage(
        document_id=row["document_id"],
        revision=row["revision"],
        title=row["title"],
        filename=row["filename"],
        page=row["page"],
        heading_path=tuple(row["headings"].split(HEADING_SEPARATOR)) if row["headings"] else (),
        start=row["start_char"],
        end=row["end_char"],
        text=row["text"],
        places=tuple(map(Place.model_validate, row["places"])),
    )


def _stored(request: ChatRequested, row: asyncpg.Record) -> ChatCompleted:
    return _completed(request, row["message_id"], row["text"], tuple(map(Citation.model_validate, row["citations"])))


def _completed(request: ChatRequested, message_id: str, answer: str, citations: tuple[Citation, ...]) -> ChatCompleted:
    return ChatCompleted(
        tenant_id=request.tenant_id,
        conversation_id=request.conversation_id,
        request_id=request.request_id,
        message_id=message_id,
        answer=answer,
        citations=citations,
    )


def _read(record: Record) -> ChatRequested:
    event, _ = decode((ChatRequested,), record.key, record.value, record.headers)
    return event
