"""The built-in embedder: wordllama's static vectors."""

import asyncio
import re
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from engine.embed import Vectors, unit
from engine.tokens import SPACE, WORDS, ByWord, load_tokenizer, wordllama_folder


class WordLlamaEmbedder:
    """wordllama's static vectors: a text is the mean of its tokens' vectors, some ten thousand texts a second.

    The weights come from the wordllama package; its own code pads every batch to its longest text and imports an HTTP
    client, and both cost more memory than the vectors themselves.
    """

    name = "wordllama-l2-supercat-256"
    dimensions = 256

    def __init__(self) -> None:
        with safe_open(wordllama_folder() / "weights" / "l2_supercat_256.safetensors", framework="np") as weights:
            # 32 MB and not 16, since numpy takes three times as long to widen a text's vectors as to find its tokens.
            self._weights: NDArray[np.float32] = weights.get_tensor("embedding.weight").astype(np.float32)
        self._tokenizer = load_tokenizer()
        self._model = self._tokenizer.model
        self._ids_by_word = ByWord(self._ids_of_word)
        special = (token.content for token in self._tokenizer.get_added_tokens_decoder().values())
        self._special = re.compile("|".join(map(re.escape, special)))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return await asyncio.to_thread(self._embed, texts)

    async def aclose(self) -> None:
        """See `Embedder`."""

    def _embed(self, texts: Sequence[str]) -> Vectors:
        means = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            means[row] = self._weights.take(self._ids(text or " "), axis=0).mean(axis=0)
        return unit(means)

    def _ids(self, text: str) -> NDArray[np.uint16]:
        """The ids of a text's tokens, as the tokenizer makes them."""
        if self._special.search(text):  # "<s>" is no word to the tokenizer, and another text begins behind it.
            return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.uint16)
        return np.frombuffer(b"".join(map(self._ids_by_word.__getitem__, WORDS.findall(f" {text}"))), np.uint16)

    def _ids_of_word(self, word: str) -> bytes:
        return array("H", [token.id for token in self._model.tokenize(word.replace(" ", SPACE))]).tobytes()
