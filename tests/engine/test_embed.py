import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wordllama

from engine.embed import Embedder, EmbedderSettings
from engine.embed_wordllama import WordLlamaEmbedder
from engine.embedders import create_embedder

TEXTS = [
    "The valve opens at five bar.",
    "Das Rad dreht sich früh am Morgen. " * 30,
    "",
    " ",
    "x",
    "\u65e5\u672c\u8a9e \U0001f600",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return create_embedder(EmbedderSettings())


async def test_vectors_are_unit_and_half_precision(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float16
    assert np.allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=1e-3)
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)
    await embedder.aclose()


async def test_vectors_are_those_of_wordllama(embedder: Embedder) -> None:
    folder = Path(wordllama.__file__).parent
    original = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    texts = [text for text in TEXTS if text]
    assert np.allclose(await embedder.embed(texts), original.embed(texts, norm=True), atol=1e-3)


async def test_a_text_has_the_same_vector_in_any_company(embedder: Embedder) -> None:
    many = [f"{text} {n}" for n in range(50) for text in TEXTS]
    together = await embedder.embed(many)
    assert (together[7] == (await embedder.embed([many[7]]))[0]).all()


async def test_like_texts_are_near(embedder: Embedder) -> None:
    question, near, far = (
        await embedder.embed(["When does the valve open?", "The valve opens at 5 bar.", "Bread is baked with rye."])
    ).astype(float)
    assert question @ near > question @ far + 0.2


async def test_the_loop_goes_on_meanwhile(embedder: Embedder) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await embedder.embed(["The wheel turns. " * 50] * 500)
    ticking.cancel()
    assert ticks > 10


def test_loading_stays_small_and_off_the_network() -> None:
    """wordllama's own code, which brings an HTTP client and a root logger, is never imported."""
    script = """
import asyncio, resource, sys
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
heavy = {"wordllama", "requests", "httpx", "onnxruntime", "kreuzberg", "pypdfium2", "tokenizers", "safetensors"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
embedder = create_embedder(EmbedderSettings())
asyncio.run(embedder.embed(["The wheel turns. " * 60] * 3_000))
assert not {"wordllama", "requests", "httpx"} & set(sys.modules)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80, "megabytes for the weights, the tokenizer and 3,000 texts"


def test_wordllama_has_a_name_and_dimensions() -> None:
    assert WordLlamaEmbedder.name == "wordllama-l2-supercat-256"
    assert WordLlamaEmbedder.dimensions == 256
