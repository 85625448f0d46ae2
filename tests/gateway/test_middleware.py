"""Traces go on, bodies end."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from gateway import problems
from gateway.middleware import LimitBody, Observe
from schemas.trace import TRACEPARENT, trace_id

GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"
LIMIT = 1_000


@pytest.fixture
async def app_client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, str | int]:
        return {"size": len(await request.body()), "traceparent": request.state.traceparent}

    @app.post("/json")
    async def read(given: list[int]) -> int:
        return len(given)

    @app.post("/streamed")
    async def streamed(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    app.add_middleware(LimitBody, bytes_max=LIMIT, streamed="/streamed")
    app.add_middleware(Observe)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


async def chunked(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 10):
        yield b"1" * 10


async def test_a_trace_goes_on(app_client: httpx.AsyncClient) -> None:
    response = await app_client.post("/echo", headers={"traceparent": GIVEN})
    told = response.headers["traceparent"]
    assert trace_id(told) == "a" * 32
    assert told != GIVEN
    assert response.json()["traceparent"] == told


@pytest.mark.parametrize(
    "given", ["", "x", GIVEN.upper(), GIVEN.replace("a", "0"), GIVEN.replace("b", "0"), GIVEN[3:], f"{GIVEN}-1", "00-é"]
)
async def test_an_invalid_trace_is_replaced(app_client: httpx.AsyncClient, given: str) -> None:
    responses = [await app_client.post("/echo", headers=[(b"traceparent", given.encode())]) for _ in range(2)]
    told = [response.headers["traceparent"] for response in responses]
    assert all(TRACEPARENT.match(each) for each in told)
    assert len({trace_id(each) for each in told} | {"a" * 32}) == 3


async def test_a_body_within_the_limit_passes(app_client: httpx.AsyncClient) -> None:
    for content in (b"1" * LIMIT, chunked(LIMIT)):
        assert (await app_client.post("/echo", content=content)).json()["size"] == LIMIT


@pytest.mark.parametrize("path", ["/echo", "/json", "/streamed"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused(
    app_client: httpx.AsyncClient, path: str, content_type: str, declared: bool
) -> None:
    size = LIMIT + 10
    response = await app_client.post(
        path, content=b"1" * size if declared else chunked(size), headers={"content-type": content_type}
    )
    if path == "/streamed" and content_type.startswith("multipart"):
        assert response.json() == size
    else:
        assert (response.status_code, response.json()["type"]) == (413, "urn:millrace:problem:body-too-large")
        assert TRACEPARENT.match(response.headers["traceparent"])


async def test_a_false_length_does_not_help(app_client: httpx.AsyncClient) -> None:
    for length in ("1", "-1", "x"):
        response = await app_client.post("/echo", content=b"1" * (LIMIT + 1), headers={"content-length": length})
        assert response.status_code == 413
