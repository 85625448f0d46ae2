import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wordllama
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from engine import tokens
from engine.embed import Embedder, EmbedderSettings, Vectors, unit
from engine.embed_wordllama import WordLlamaEmbedder
from engine.embedders import create_embedder
from engine.tokens import load_tokenizer, wordllama_folder

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


PIECES = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["the", "valve", "Größe", "don't", "x2", "\u65e5\u672c\u8a9e", "\U0001f600", "e\u0301", "a_" * 70]),
    st.sampled_from(["<s>", "</s>", "<unk>", "<0x0A>", "<s", "\0"]),
    st.sampled_from([" ", "\u2581", "\n"]),
    st.sampled_from([" ", "  ", " " * 17, "\n", "\n\n", "\r\n", "\t", "\v", "\x85", "\xa0", "\u2028", "\u3000"]),
)


@pytest.fixture(scope="module")
def expected() -> Callable[[str], Vectors]:
    tokenizer = load_tokenizer()
    with safe_open(wordllama_folder() / "weights" / "l2_supercat_256.safetensors", framework="np") as file:
        weights = file.get_tensor("embedding.weight")

    def mean(text: str) -> Vectors:
        ids = tokenizer.encode(text or " ", add_special_tokens=False).ids
        return unit(weights[ids].mean(axis=0, dtype=np.float32, keepdims=True))

    return mean


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=8), st.integers(1, 20))
@example(["\u2581 ", "x\u2581 \n"], 1)
@settings(max_examples=400, deadline=None)
def test_a_vector_is_exactly_the_mean_of_what_the_tokenizer_makes(
    embedder: Embedder, expected: Callable[[str], Vectors], texts: list[str], words_cached_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "WORDS_CACHED_MAX", words_cached_max)
        vectors = asyncio.run(embedder.embed(texts))
    for text, vector in zip(texts, vectors, strict=True):
        assert (vector == expected(text)).all(), text


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


def test_words_that_never_come_again_take_bounded_memory() -> None:
    script = """
import asyncio, resource
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
embedder = create_embedder(EmbedderSettings())
asyncio.run(embedder.embed(["The wheel turns."]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, 200_000, 100):
    asyncio.run(embedder.embed([" ".join(f"{n:064x}" for n in range(start, start + 100))]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60, "megabytes for 200,000 hashes of 64 characters"


def test_wordllama_has_a_name_and_dimensions() -> None:
    assert WordLlamaEmbedder.name == "wordllama-l2-supercat-256"
    assert WordLlamaEmbedder.dimensions == 256
