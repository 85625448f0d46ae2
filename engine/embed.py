"""Embed: texts become vectors, behind one small protocol."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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


def create_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder that the settings name. Raises `EmbedderRefused` where they are incomplete."""
    # Each kind brings libraries of its own, which the others need not load.
    match settings.kind:
        case EmbedderKind.OPENAI:
            from engine.embed_openai import OpenAIEmbedder  # noqa: PLC0415

            return OpenAIEmbedder(settings)
        case EmbedderKind.ONNX:
            from engine.embed_onnx import OnnxEmbedder  # noqa: PLC0415

            return OnnxEmbedder(settings)
        case EmbedderKind.WORDLLAMA:
            return WordLlamaEmbedder()


def unit(vectors: NDArray[np.float32]) -> Vectors:
    """Rows scaled to length 1 (zeros stay zeros), as float16."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float16)


class WordLlamaEmbedder:
    """wordllama's static vectors: a text is the mean of its tokens' vectors, some thousand texts a second.

    The weights come from the wordllama package; its own code pads every batch to its longest text and imports an HTTP
    client, and both cost more memory than the vectors themselves.
    """

    name = "wordllama-l2-supercat-256"
    dimensions = 256

    _TEXTS_AT_ONCE = 64
    """Bounds the gathered token vectors: 64 texts of 256 tokens are 17 MB."""

    def __init__(self) -> None:
        from safetensors import safe_open  # noqa: PLC0415

        from engine.tokens import load_tokenizer, wordllama_folder  # noqa: PLC0415

        with safe_open(wordllama_folder() / "weights" / "l2_supercat_256.safetensors", framework="np") as weights:
            self._weights: NDArray[np.float16] = weights.get_tensor("embedding.weight")
        self._tokenizer: Tokenizer = load_tokenizer()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return await asyncio.to_thread(self._embed, texts)

    async def aclose(self) -> None:
        """See `Embedder`."""

    def _embed(self, texts: Sequence[str]) -> Vectors:
        means = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), self._TEXTS_AT_ONCE):
            batch = [text or " " for text in texts[start : start + self._TEXTS_AT_ONCE]]
            for row, encoding in enumerate(self._tokenizer.encode_batch_fast(batch, add_special_tokens=False), start):
                ids = np.array(encoding.ids, dtype=np.int32)
                means[row] = self._weights[ids].mean(axis=0, dtype=np.float32)
        return unit(means)
