"""The built-in embedder: wordllama's static vectors."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from engine.embed import Vectors, unit
from engine.tokens import load_tokenizer, wordllama_folder


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
        with safe_open(wordllama_folder() / "weights" / "l2_supercat_256.safetensors", framework="np") as weights:
            self._weights: NDArray[np.float16] = weights.get_tensor("embedding.weight")
        self._tokenizer = load_tokenizer()

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
