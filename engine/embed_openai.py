"""Vectors from any endpoint that speaks OpenAI's embeddings API."""

import asyncio
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ValidationError

from engine.embed import EmbedderSettings, Vectors, unit
from engine.endpoint import Endpoint
from engine.errors import EmbedderRefused, EmbedderUnavailable


class _Embedding(BaseModel):
    index: int
    embedding: list[float]


class _Response(BaseModel):
    data: list[_Embedding]


class OpenAIEmbedder:
    """Asks an endpoint, ``batch_size`` texts at a time."""

    def __init__(self, settings: EmbedderSettings) -> None:
        if not settings.model:
            raise EmbedderRefused("MILLRACE_EMBEDDER_MODEL is not set.")
        self._model = settings.model
        self._batch_size = settings.batch_size
        self.dimensions = settings.dimensions
        self.name = f"openai:{settings.model}:{settings.dimensions}"
        self._endpoint = Endpoint(
            settings.url,
            settings.api_key,
            settings.timeout_s,
            unavailable=EmbedderUnavailable,
            refused=EmbedderRefused,
        )

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        vectors = np.zeros((len(texts), self.dimensions), np.float16)
        for start in range(0, len(texts), self._batch_size):
            # An empty text is an error there.
            batch = [text or " " for text in texts[start : start + self._batch_size]]
            body = await self._endpoint.post(
                "embeddings", {"model": self._model, "input": batch, "encoding_format": "float"}
            )
            vectors[start : start + len(batch)] = await asyncio.to_thread(self._read, body, len(batch))
        return vectors

    async def aclose(self) -> None:
        """See `Embedder`."""
        await self._endpoint.aclose()

    def _read(self, body: bytes, expected: int) -> Vectors:
        try:
            data = sorted(_Response.model_validate_json(body).data, key=lambda item: item.index)
        except ValidationError as error:
            raise EmbedderRefused("The answer is not that of an embeddings endpoint.") from error
        if [item.index for item in data] != list(range(expected)):
            raise EmbedderRefused(f"{len(data)} vectors for {expected} texts.")
        lengths = {len(item.embedding) for item in data}
        if lengths != {self.dimensions}:
            raise EmbedderRefused(f"Vectors of {max(lengths)} dimensions, where the settings say {self.dimensions}.")
        vectors = np.array([item.embedding for item in data], np.float32)
        if not np.isfinite(vectors).all():
            raise EmbedderRefused("A vector has numbers that are not finite.")
        return unit(vectors)
