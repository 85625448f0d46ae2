"""Embed: texts become vectors, behind one small protocol."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Vectors = NDArray[np.float16]


class Embedder(Protocol):
    """Makes vectors. Two embedders with the same ``name`` make the same vectors of the same texts."""

    @property
    def name(self) -> str:
        """Changes whenever the vectors do."""

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimensions)``.

        Never blocks the event loop. Raises `EmbedderUnavailable` (worth another attempt) or `EmbedderRefused`.
        """

    async def aclose(self) -> None:
        """Let go of connections and memory."""


class EmbedderKind(StrEnum):
    """Where vectors come from."""

    WORDLLAMA = "wordllama"
    OPENAI = "openai"
    ONNX = "onnx"


class EmbedderSettings(BaseSettings):
    """Which embedder makes the vectors."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_EMBEDDER_", frozen=True)

    kind: EmbedderKind = Field(
        default=EmbedderKind.WORDLLAMA,
        description="wordllama (bundled), openai (any endpoint that speaks its API) or onnx (a local model).",
    )
    url: str = Field(default="http://127.0.0.1:11434/v1", description="Base URL of the OpenAI-compatible endpoint.")
    api_key: SecretStr | None = Field(default=None, description="Key for that endpoint.")
    model: str | None = Field(default=None, description="Name of the model at that endpoint.")
    dimensions: int = Field(default=256, ge=1, le=4_000, description="Numbers in a vector of that model.")
    path: Path | None = Field(default=None, description="Folder with model.onnx and tokenizer.json.")
    batch_size: int = Field(default=64, ge=1, le=2_048, description="Texts in one request or one run of the model.")
    timeout_s: float = Field(default=30.0, gt=0, description="Seconds to wait for the endpoint's answer.")


def unit(vectors: NDArray[np.float32]) -> Vectors:
    """Rows scaled to length 1 (zeros stay zeros), as float16."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float16)
