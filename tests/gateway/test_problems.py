"""Every error is a problem (RFC 9457) with a stable type, and tells nothing that is not the caller's."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException

from db.errors import BlobMissing, DatabaseUnavailable, PositionNotReached
from gateway import problems
from gateway.middleware import Observe
from schemas.errors import MillraceError, TopicMismatch

ERRORS: dict[str, Exception] = {
    "away": DatabaseUnavailable("at host db-7"),
    "late": PositionNotReached("Waited 10 s."),
    "gone": BlobMissing("t/x"),
    "ours": TopicMismatch("secret-topic: partitions 3"),
    "bug": RuntimeError("password=hush"),
    "teapot": HTTPException(418),
    "dropped": asyncpg.ConnectionDoesNotExistError("to db-7"),
    "full": asyncpg.TooManyConnectionsError("of role hush"),
    "refused": ConnectionRefusedError("db-7:5432"),
    "slow": TimeoutError(),
    "sql": asyncpg.UndefinedColumnError("column hush"),
}


@pytest.fixture
async def app_client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Observe)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @app.get("/typed")
    async def typed(number: Annotated[int, Query(ge=1)]) -> int:
        return number

    @app.post("/body")
    async def body(given: dict[str, dict[str, int]]) -> dict[str, Any]:
        return given

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def checked(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem in a response, once its shape was checked."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    found: dict[str, Any] = response.json()
    assert found["type"] == f"urn:millrace:problem:{slug}"
    assert found["status"] == status
    assert found["title"].endswith(".")
    assert found.keys() <= {"type", "title", "status", "detail", "hint", "errors"}
    assert "hush" not in response.text
    return found


@pytest.mark.parametrize(
    ("name", "status", "slug"),
    [
        ("away", 503, "database-unavailable"),
        ("late", 503, "position-not-reached"),
        ("gone", 410, "content-missing"),
        ("ours", 500, "internal"),
        ("bug", 500, "internal"),
        ("dropped", 503, "database-unavailable"),
        ("full", 503, "database-unavailable"),
        ("refused", 503, "database-unavailable"),
        ("slow", 503, "database-unavailable"),
        ("sql", 500, "internal"),
    ],
)
async def test_errors_become_problems(app_client: httpx.AsyncClient, name: str, status: int, slug: str) -> None:
    response = await app_client.get(f"/raise/{name}")
    found = checked(response, status, slug)
    assert ("retry-after" in response.headers) == (status == 503)
    assert response.headers["traceparent"].startswith("00-")
    if status == 500:
        assert found.keys() == {"type", "title", "status"}
        assert "topic" not in response.text
    if name in {"dropped", "refused"}:
        assert "db-7" not in response.text


async def test_what_is_not_there(app_client: httpx.AsyncClient) -> None:
    checked(await app_client.get("/nothing"), 404, "not-found")
    refused = await app_client.delete("/typed")
    checked(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET"
    checked(await app_client.get("/raise/teapot"), 418, "i'm-a-teapot")


async def test_validation_says_where_and_why(app_client: httpx.AsyncClient) -> None:
    found = checked(await app_client.get("/typed?number=0"), 422, "invalid-request")
    assert found["errors"] == [{"where": "query.number", "why": "Input should be greater than or equal to 1"}]
    broken = await app_client.post("/body", content=b"{", headers={"content-type": "application/json"})
    assert checked(broken, 422, "invalid-request")["errors"][0]["where"].startswith("body")
    half = await app_client.post(
        "/body", content=rb'{"\ud800": {"\udfff": "x"}}', headers={"content-type": "application/json"}
    )
    checked(half, 422, "invalid-request")


def test_every_listed_type_is_an_error_of_ours() -> None:
    import gateway.chat.endpoints
    import gateway.documents.service  # noqa: F401

    def below(error: type[MillraceError]) -> set[str]:
        return {error.type}.union(*(below(each) for each in error.__subclasses__()))

    known = below(MillraceError)
    assert set(problems.STATUS_BY_TYPE) <= known
