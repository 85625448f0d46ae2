import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from engine.answer import (
    NOTHING_FOUND,
    Answerer,
    AnswererKind,
    AnswererSettings,
    Passage,
    Turn,
    bounded,
)
from engine.answerers import create_answerer
from engine.cite import cite
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from engine.errors import AnswererRefused, AnswererUnavailable, AnswerTooLong
from tests.engine.conftest import passage

PASSAGES = [
    passage(
        "4.2 Relief valve\n\nThe relief valve opens at five bar. It is painted red. "
        "How often must the filter be renewed? Every 500 hours, or at once if the lamp shines.",
        heading_path=("4 Valves", "4.2 Relief valve"),
    ),
    passage("Rye bread is baked for 70 minutes [3] in tins. Cool it on a rack.", document_id="bread", heading_path=()),
    passage("The relief valve opens at five bar.", start=18, heading_path=()),
]


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return create_answerer(AnswererSettings(), create_embedder(EmbedderSettings()))


async def ask(
    answerer: Answerer, question: str, passages: Sequence[Passage] = PASSAGES, history: Sequence[Turn] = ()
) -> list[str]:
    return [piece async for piece in answerer.answer(question, passages, history)]


async def test_the_best_sentence_is_quoted_with_its_marker(answerer: Answerer) -> None:
    pieces = await ask(answerer, "At which pressure does the relief valve open?")
    assert pieces[0] == "The relief valve opens at five bar. [1]"
    assert len(pieces) <= 3
    text = "".join(pieces)
    assert "4.2 Relief valve" not in text
    assert text.count("five bar") == 1
    _, citations = cite(text, "", PASSAGES)
    assert citations[0].quote == "The relief valve opens at five bar."
    await answerer.aclose()


async def test_a_question_in_the_document_is_answered_by_what_follows(answerer: Answerer) -> None:
    pieces = await ask(answerer, "How often must the filter be renewed?")
    assert pieces[0] == "Every 500 hours, or at once if the lamp shines. [1]"


async def test_references_of_the_document_are_no_markers(answerer: Answerer) -> None:
    text = "".join(await ask(answerer, "How long is rye bread baked?"))
    assert text.startswith("Rye bread is baked for 70 minutes (3) in tins. [2]")
    _, [citation, *_] = cite(text, "How long is rye bread baked?", PASSAGES)
    assert citation.quote == "Rye bread is baked for 70 minutes [3] in tins."


@pytest.mark.parametrize("question", ["Which planet is the largest?", "", "???", "Who composed nine symphonies?"])
async def test_weak_support_is_said_plainly(answerer: Answerer, question: str) -> None:
    assert await ask(answerer, question) == [NOTHING_FOUND]


async def test_no_passage_is_nothing_found(answerer: Answerer) -> None:
    assert await ask(answerer, "Anything?", []) == [NOTHING_FOUND]


async def test_a_short_question_is_asked_together_with_the_one_before(answerer: Answerer) -> None:
    history = [Turn("user", "Which colour has the relief valve?"), Turn("assistant", "It is painted red. [1]")]
    pieces = await ask(answerer, "And when does it open?", history=history)
    assert "opens at five bar" in "".join(pieces)


def test_incomplete_settings_are_refused() -> None:
    with pytest.raises(AnswererRefused, match="MILLRACE_ANSWERER_MODEL"):
        create_answerer(AnswererSettings(kind=AnswererKind.OPENAI), create_embedder(EmbedderSettings()))


async def test_an_answer_has_an_end() -> None:
    closed: list[str] = []

    async def endless(count: int) -> AsyncGenerator[str]:
        try:
            for _ in range(count):
                yield "word "
            await asyncio.Event().wait()
        finally:
            closed.append("yes")

    with pytest.raises(AnswerTooLong, match="more than 100 characters"):
        [_ async for _ in bounded(endless(1_000), chars_max=100)]
    with pytest.raises(AnswerTooLong, match=r"not done after 0\.05 s"):
        [_ async for _ in bounded(endless(3), seconds_max=0.05)]
    with pytest.raises(AnswererUnavailable):
        [_ async for _ in bounded(endless(0), seconds_max=0.05)]
    assert len(closed) == 3


async def test_an_answer_within_its_bounds_is_as_it_is(answerer: Answerer) -> None:
    question = "At which pressure does the relief valve open?"
    assert [piece async for piece in bounded(answerer.answer(question, PASSAGES, []))] == await ask(answerer, question)
