"""Conversations: messages are stored once, and read in their order."""

from datetime import UTC, datetime, timedelta

from db import conversations
from db.pool import Pool
from schemas.events import Citation

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUOTE = Citation(number=1, document_id="d", revision=7, start=3, end=6, quote="\u2028mill")


async def say(pool: Pool, tenant: str, request_id: str, role: str, at: datetime, text: str = "Hello?") -> str:
    async with pool.acquire() as connection:
        return await conversations.add_message(
            connection,
            tenant_id=tenant,
            conversation_id="c",
            request_id=request_id,
            role=role,
            text=text,
            citations=[QUOTE] if role == "assistant" else [],
            at=at,
        )


async def test_a_message_that_comes_again_changes_nothing(pool: Pool, tenant: str) -> None:
    first = await say(pool, tenant, "r", "user", NOON)
    assert await say(pool, tenant, "r", "user", NOON, "Something else") == first
    [message] = await conversations.history(pool, tenant, "c", before=NOON + timedelta(days=1), limit=9)
    assert (message["message_id"], message["text"], message["created_at"]) == (first, "Hello?", NOON)


async def test_history_is_the_newest_before_a_moment_in_order(pool: Pool, tenant: str) -> None:
    # Over a year, so that they lie in several partitions.
    moments = [NOON + timedelta(days=30 * number) for number in range(12)]
    for moment in reversed(moments):
        await say(pool, tenant, f"{moment:%m}", "user", moment, f"{moment:%m}")

    async def texts(before: datetime, limit: int) -> list[str]:
        return [row["text"] for row in await conversations.history(pool, tenant, "c", before=before, limit=limit)]

    assert await texts(moments[5], 3) == [f"{moment:%m}" for moment in moments[2:5]]
    assert await texts(moments[0], 3) == []
    head = await conversations.get(pool, tenant, "c")
    assert head is not None
    assert head["updated_at"] == moments[-1]
    assert await conversations.get(pool, f"{tenant}-2", "c") is None
    assert not await conversations.history(pool, f"{tenant}-2", "c", before=moments[-1], limit=3)


async def test_an_answer_keeps_its_citations(pool: Pool, tenant: str) -> None:
    assert await conversations.answer_to(pool, tenant, "c", "r") is None
    await say(pool, tenant, "r", "user", NOON, "x" * 500)
    assert await conversations.answer_to(pool, tenant, "c", "r") is None
    await say(pool, tenant, "r", "assistant", NOON + timedelta(microseconds=1))
    answer = await conversations.answer_to(pool, tenant, "c", "r")
    assert answer is not None
    assert [Citation.model_validate(each) for each in answer["citations"]] == [QUOTE]
    head = await conversations.get(pool, tenant, "c")
    assert head is not None
    assert head["title"] == "x" * conversations.TITLE_CHARS_MAX


def test_a_quote_is_found_however_its_lines_are_broken() -> None:
    citation = Citation(number=1, document_id="d", revision=1, start=0, end=20, quote="Open the valve\nfirst.")
    kept = Citation(number=2, document_id="other", revision=1, start=0, end=5, quote="Stone")
    text, citations = conversations.without_quotes(
        "It says: Open the  valve first. [1] Stone [2]", [citation, kept], {"d"}
    )
    assert text == "It says: [withdrawn] [1] Stone [2]"
    assert [(each.withdrawn, each.quote) for each in citations] == [(True, ""), (False, "Stone")]
