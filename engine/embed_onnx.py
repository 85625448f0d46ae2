"""Vectors from a local ONNX model: the mean of its last hidden states, as sentence transformers do."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.embed import EmbedderSettings, Vectors, unit
from engine.errors import EmbedderRefused

TOKENS_MAX = 512
"""What BERT-like models were trained to; used where tokenizer.json sets no limit of its own."""


class OnnxEmbedder:
    """Runs ``model.onnx`` with ``tokenizer.json`` from one folder."""

    def __init__(self, settings: EmbedderSettings) -> None:
        try:
            import onnxruntime  # noqa: PLC0415
        except ImportError as error:
            raise EmbedderRefused("onnxruntime is not installed: pip install 'millrace[onnx]'.") from error
        folder = settings.path
        if folder is None:
            raise EmbedderRefused("MILLRACE_EMBEDDER_PATH is not set.")
        for needed in ("model.onnx", "tokenizer.json"):
            if not (folder / needed).is_file():
                raise EmbedderRefused(f"{needed} is not in the folder of MILLRACE_EMBEDDER_PATH.")
        self._batch_size = settings.batch_size
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        try:
            self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
            self._inputs = {model_input.name for model_input in self._session.get_inputs()}
            self.dimensions = int(self._run(["a"]).shape[1])
        # onnxruntime has an exception of its own for every status and no base for them.
        except Exception as error:
            raise EmbedderRefused(f"The model does not run: {' '.join(str(error).split())[:300]}") from error
        self.name = f"onnx:{folder.name}:{_fingerprint(folder)}"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return await asyncio.to_thread(self._embed, texts)

    async def aclose(self) -> None:
        """See `Embedder`."""

    def _embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimensions), np.float16)
        # Texts of like length beside each other, since every batch is padded to its longest.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            vectors[batch] = self._run([texts[index] for index in batch])
        return vectors

    def _run(self, texts: list[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch(texts)
        feeds = {
            "input_ids": _matrix([encoding.ids for encoding in encodings]),
            "attention_mask": _matrix([encoding.attention_mask for encoding in encodings]),
            "token_type_ids": _matrix([encoding.type_ids for encoding in encodings]),
        }
        output = self._session.run(None, {name: feed for name, feed in feeds.items() if name in self._inputs})[0]
        states = np.asarray(output, np.float32)
        if states.ndim == 2:
            # Already pooled inside the model.
            return unit(states)
        mask = feeds["attention_mask"][:, :, np.newaxis].astype(np.float32)
        return unit((states * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1))


def _tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    if tokenizer.truncation is None:
        tokenizer.enable_truncation(TOKENS_MAX)
    padding = tokenizer.padding or {}
    # Whatever fixed length it was exported with, pad to the longest of the batch.
    tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))
    return tokenizer


def _matrix(rows: list[list[int]]) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


def _fingerprint(folder: Path) -> str:
    """Of the model, with its external weights if it has any, and its tokenizer."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("model.onnx*"), folder / "tokenizer.json"]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
