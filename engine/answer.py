"""Answer: a question and the passages that a search found become an answer that says where each part stands."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.errors import AnswererUnavailable, AnswerTooLong
from schemas.events import Place

ANSWER_CHARS_MAX = 20_000
"""Some ten pages: a model that writes more has begun to repeat itself."""
ANSWER_S_MAX = 120.0
"""As long as the gateway waits by default; the questions behind this one wait, too."""
NOTHING_FOUND = "I found nothing about this in the documents."


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a search found: ``text == document_text[start:end]``, in characters.

    ``page`` and ``heading_path`` hold for its beginning, up to the first of its ``places``.
    """

    document_id: str
    revision: int
    title: str | None
    filename: str | None
    page: int | None
    heading_path: tuple[str, ...]
    start: int
    end: int
    text: str
    places: tuple[Place, ...] = ()

    def place(self, start: int) -> Place:
        """The page and the headings of what stands at a character of the document."""
        first = Place(start=self.start, page=self.page, heading_path=self.heading_path)
        passed = [place for place in self.places if place.start <= start]
        return passed[-1] if passed else first


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said before in the conversation."""

    role: Literal["user", "assistant"]
    text: str


class Answerer(Protocol):
    """Answers from passages, and from nothing else."""

    def answer(self, question: str, passages: Sequence[Passage], history: Sequence[Turn]) -> AsyncGenerator[str]:
        """The answer, piece by piece, with a marker [n] behind what stands in ``passages[n - 1]``.

        Raises `AnswererUnavailable` (worth another attempt) or `AnswererRefused`.
        """

    async def aclose(self) -> None:
        """Let go of connections."""


async def bounded(
    pieces: AsyncGenerator[str], *, chars_max: int = ANSWER_CHARS_MAX, seconds_max: float = ANSWER_S_MAX
) -> AsyncGenerator[str]:
    """The pieces of an answer, as long as it keeps within its bounds; closes it in the end.

    Raises `AnswerTooLong` where it does not, or `AnswererUnavailable` where nothing came at all.
    """
    chars = 0
    deadline = asyncio.get_running_loop().time() + seconds_max
    async with aclosing(pieces):
        while True:
            try:
                # Around each wait alone: a timeout must not span a `yield`.
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
            except TimeoutError:
                if chars:
                    raise AnswerTooLong(f"It was not done after {seconds_max:g} s.") from None
                raise AnswererUnavailable(f"Waited {seconds_max:g} s.") from None
            if piece is None:
                return
            chars += len(piece)
            if chars > chars_max:
                raise AnswerTooLong(f"It has more than {chars_max} characters.")
            yield piece


class AnswererKind(StrEnum):
    """Who answers."""

    EXTRACTIVE = "extractive"
    OPENAI = "openai"


class AnswererSettings(BaseSettings):
    """Who answers questions."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_ANSWERER_", frozen=True)

    kind: AnswererKind = Field(
        default=AnswererKind.EXTRACTIVE,
        description="extractive (quotes the best sentences, offline) or openai (any endpoint that speaks its API).",
    )
    url: str = Field(default="http://127.0.0.1:11434/v1", description="Base URL of the OpenAI-compatible endpoint.")
    api_key: SecretStr | None = Field(default=None, description="Key for that endpoint.")
    model: str | None = Field(default=None, description="Name of the chat model at that endpoint.")
    timeout_s: float = Field(default=60.0, gt=0, description="Seconds to wait for the next piece of an answer.")
