import time
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr

from engine.embed import Embedder, EmbedderKind, EmbedderSettings
from engine.embedders import create_embedder
from engine.errors import EmbedderRefused, EmbedderUnavailable
from tests.engine.conftest import FakeOpenAI

KEY = "sk-very-secret"


def embedder_at(url: str, **changes: Any) -> Embedder:
    settings: dict[str, Any] = {
        "dimensions": 8,
        "batch_size": 3,
        "timeout_s": 5.0,
        "model": "m",
        "api_key": SecretStr(KEY),
        **changes,
    }
    return create_embedder(EmbedderSettings(kind=EmbedderKind.OPENAI, url=url, **settings))


async def test_batches_are_sent_and_put_in_order(openai: FakeOpenAI) -> None:
    embedder = embedder_at(openai.url)
    texts = ["alpha", "be", "gamma", "", "epsilon", "zeta", "eta"]
    vectors = await embedder.embed(texts)
    expected = np.array([openai.vector(text or " ") for text in texts])
    assert np.allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-3)
    assert vectors.dtype == np.float16
    assert [request["input"] for request in openai.requests] == [texts[:3], [" ", "epsilon", "zeta"], ["eta"]]
    assert set(openai.keys) == {f"Bearer {KEY}"}
    assert embedder.name == "openai:m:8"
    await embedder.aclose()


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [("7", 7), ("3600", 3_600), ("a date in two hours", 7_200), ("soon", None), (None, None)],
)
async def test_a_limit_is_told_at_once_with_the_pause_that_the_server_asks_for(
    openai: FakeOpenAI, header: str | None, expected_s: float | None
) -> None:
    if header == "a date in two hours":
        header = formatdate(time.time() + 7_200, usegmt=True)
    openai.answers = [JSONResponse({"error": "quota"}, 429, headers={"Retry-After": header} if header else None)]
    embedder = embedder_at(openai.url)
    with pytest.raises(EmbedderUnavailable, match=r"429.*quota") as caught:
        await embedder.embed(["a"])
    assert caught.value.transient
    assert caught.value.retry_after_s == (expected_s and pytest.approx(expected_s, abs=60))
    assert len(openai.requests) == 1
    await embedder.aclose()


@pytest.mark.parametrize("status", [408, 409, 425, 500, 503])
async def test_what_may_pass_is_left_to_the_caller(openai: FakeOpenAI, status: int) -> None:
    openai.answers = [JSONResponse({}, status)]
    embedder = embedder_at(openai.url)
    with pytest.raises(EmbedderUnavailable, match=f"HTTP {status}"):
        await embedder.embed(["a"])
    assert (await embedder.embed(["a"])).shape == (1, 8)
    await embedder.aclose()


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_refusal_is_final_and_keeps_the_key_secret(openai: FakeOpenAI, status: int) -> None:
    openai.answers = [JSONResponse({"error": f"Incorrect key {KEY} for this model"}, status)]
    embedder = embedder_at(openai.url)
    with pytest.raises(EmbedderRefused, match=rf"HTTP {status}.*Incorrect key") as caught:
        await embedder.embed(["a"])
    assert not caught.value.transient
    assert KEY not in str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert len(openai.requests) == 1
    await embedder.aclose()


async def test_other_dimensions_are_refused(openai: FakeOpenAI) -> None:
    openai.dimensions = 12
    embedder = embedder_at(openai.url)
    with pytest.raises(EmbedderRefused, match="Vectors of 12 dimensions, where the settings say 8"):
        await embedder.embed(["a"])
    await embedder.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"data": []}',
        b'{"data": [{"index": 1, "embedding": [1,1,1,1,1,1,1,1]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999,1,1,1,1,1,1,1]}]}',
    ],
)
async def test_other_answers_are_refused(openai: FakeOpenAI, body: bytes) -> None:
    openai.answers = [Response(body, media_type="application/json")]
    embedder = embedder_at(openai.url)
    with pytest.raises(EmbedderRefused):
        await embedder.embed(["a"])
    await embedder.aclose()


async def test_nobody_there_is_unavailable() -> None:
    embedder = embedder_at("http://127.0.0.1:1/v1")
    with pytest.raises(EmbedderUnavailable, match="ConnectError"):
        await embedder.embed(["a"])
    await embedder.aclose()


async def test_incomplete_settings_are_refused() -> None:
    with pytest.raises(EmbedderRefused, match="MILLRACE_EMBEDDER_MODEL"):
        embedder_at("http://127.0.0.1:1/v1", model=None)
    embedder = embedder_at("ftp://127.0.0.1/v1")
    with pytest.raises(EmbedderRefused):
        await embedder.embed(["a"])
    await embedder.aclose()
