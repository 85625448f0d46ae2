"""The answer stage: what is asked is kept, and what is told as completed is what is stored."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from db import conversations
from db.live import Live
from db.pool import DatabaseSettings, Pool
from engine.answer import ANSWER_CHARS_MAX, Passage, Turn
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from engine.errors import AnswerTooLong
from schemas.events import ChatCompleted, ChatDelta, ChatRequested
from schemas.topics import CHAT_EVENTS, CHAT_REQUESTED
from schemas.wire import decode, encode
from streams.answer import AnswerStage, Means
from streams.outbox import Outbox
from streams.record import Record
from tests.db.rows import publish
from tests.streams.records import record
from tests.streams.topic import Reader, reading

EMBEDDER = create_embedder(EmbedderSettings())


class Saying:
    """Answers with what the test says."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    async def answer(self, question: str, passages: Sequence[Passage], history: Sequence[Turn]) -> AsyncGenerator[str]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        pass


def stage(outbox: Outbox, pool: Pool, *pieces: str) -> AnswerStage:
    return AnswerStage(outbox, 1, Live(DatabaseSettings(), pool, lambda _: Means(EMBEDDER, Saying(*pieces))))


def asked(tenant: str, message: str = "When does the wheel turn?", request_id: str = "r", offset: int = 0) -> Record:
    request = ChatRequested(tenant_id=tenant, conversation_id="c", request_id=request_id, message=message)
    key, value, headers = encode(request)
    bare = record(tenant, offset, value=value, topic=CHAT_REQUESTED.name)
    return replace(bare, key=key, headers=tuple(headers), timestamp_ms=bare.timestamp_ms + offset)


async def kept(pool: Pool, tenant: str) -> list[tuple[str, str]]:
    rows = await pool.fetch(
        "SELECT role, text FROM conversation_messages WHERE tenant_id = $1 ORDER BY created_at", tenant
    )
    return [(row["role"], row["text"]) for row in rows]


async def told(reader: Reader, tenant: str) -> tuple[list[str], ChatCompleted]:
    """The deltas' texts, and what ended them."""
    events = [
        decode(CHAT_EVENTS.events, each.key, each.value, each.headers)[0]
        for each in await reader.until(
            lambda found: found and dict(found[-1].headers)["ce_type"] == b"millrace.chat.completed",
            lambda each: (each.key or b"").startswith(f"{tenant}/".encode()),
        )
    ]
    *deltas, completed = events
    assert isinstance(completed, ChatCompleted)
    return [delta.text for delta in deltas if isinstance(delta, ChatDelta)], completed


async def test_a_question_is_kept_though_its_answer_fails(outbox: Outbox, pool: Pool, tenant: str) -> None:
    endless = stage(outbox, pool, *["again and again "] * (ANSWER_CHARS_MAX // 16 + 1))
    for _ in range(2):
        with pytest.raises(AnswerTooLong):
            await endless.handle([asked(tenant)])
    assert await kept(pool, tenant) == [("user", "When does the wheel turn?")]


async def test_an_answer_is_told_in_pieces_that_make_up_the_stored_one(outbox: Outbox, pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "wheel", 1, ["The wheel turns at seven."])
    async with reading(CHAT_EVENTS) as reader:
        await stage(outbox, pool, "The wheel turns ", "at seven [", "1", "]", ". Well [7].").handle([asked(tenant)])
        pieces, completed = await told(reader, tenant)
    assert "".join(pieces) == completed.answer == "The wheel turns at seven [1]. Well."
    assert [citation.quote for citation in completed.citations] == ["The wheel turns at seven."]
    assert await kept(pool, tenant) == [("user", "When does the wheel turn?"), ("assistant", completed.answer)]


async def test_the_answer_of_the_worker_that_was_first_is_told(outbox: Outbox, pool: Pool, tenant: str) -> None:
    """A worker that lost its partition while it was answering ends with the other one's answer."""
    question = asked(tenant)

    class Overtaken(Saying):
        async def answer(
            self, question_text: str, passages: Sequence[Passage], history: Sequence[Turn]
        ) -> AsyncGenerator[str]:
            await stage(outbox, pool, "It turns at seven.").handle([question])
            yield "It turns at eight."

    slow = AnswerStage(outbox, 1, Live(DatabaseSettings(), pool, lambda _: Means(EMBEDDER, Overtaken())))
    await slow.handle([question])
    async with reading(CHAT_EVENTS) as reader:
        await slow.handle([question])
        _, completed = await told(reader, tenant)
    assert completed.answer == "It turns at seven."
    assert await kept(pool, tenant) == [("user", "When does the wheel turn?"), ("assistant", "It turns at seven.")]


async def test_a_question_that_was_passed_over_is_answered_when_it_comes_again(
    outbox: Outbox, pool: Pool, tenant: str
) -> None:
    await stage(outbox, pool, "Later.").handle([asked(tenant, "Second?", "r-2", 1)])
    await stage(outbox, pool, "Earlier.").handle([asked(tenant, "First?", "r-1", 0)])
    row = await conversations.answer_to(pool, tenant, "c", "r-1")
    assert row
    assert row["text"] == "Earlier."
