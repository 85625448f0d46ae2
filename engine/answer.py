"""Answer: a question and the passages that a search found become an answer that says where each part stands."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

NOTHING_FOUND = "I found nothing about this in the documents."


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a search found: ``text == document_text[start:end]``, in characters."""

    document_id: str
    revision: int
    title: str | None
    filename: str | None
    page: int | None
    heading_path: tuple[str, ...]
    start: int
    end: int
    text: str


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
