"""A write is seen by every read that carries its position: on another gateway, and after restarts."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.pool import Pool
from schemas.position import Position
from tests.conditions import eventually
from tests.conftest import Process
from tests.gateway.inside import inside
from tests.gateway.processes import started
from tests.gateway.requests import add, after, events, problem_type


@pytest.fixture
async def other(http: httpx.AsyncClient, tenant: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Another gateway beside the session's."""
    with started("gateway", tmp_path, os.environ) as (url, _):
        async with httpx.AsyncClient(base_url=url, headers={"X-Millrace-Tenant": tenant}, timeout=60) as client:
            yield client


async def see(http: httpx.AsyncClient, word: str, accepted: dict[str, Any]) -> None:
    """Every read sees the write of a text with a word of its own."""
    document_id, token = accepted["document_id"], accepted["position"]
    path = f"/v1/documents/{document_id}"

    async def get(path: str, **params: str) -> httpx.Response:
        response = await http.get(path, params={"after": token, **params})
        assert response.status_code == 200, response.text
        return response

    got = [
        (await get(path)).json()["revision"],
        (await get(f"{path}/status")).json()["visible_revision"],
        (await get(f"{path}/chunks")).json()["revision"],
        *(each["revision"] for each in (await get("/v1/documents", state="indexed")).json()["documents"]),
        (await events(http, "GET", f"{path}/events", params={"after": token}))[-1][1]["revision"],
    ]
    assert set(got) == {accepted["revision"]}
    assert word in (await get(f"{path}/content")).text
    search = {"query": word, "mode": "text"}
    found = (await http.post("/v1/search", json=search, headers=after(accepted))).json()["hits"]
    assert [hit["revision"] for hit in found] == [accepted["revision"]]
    answer = await http.post("/v1/chat", json={"message": f"What is {word}?"}, params={"after": token})
    assert {each["revision"] for each in answer.json()["citations"]} == {accepted["revision"]}
    conversation = await get(f"/v1/conversations/{answer.json()['conversation_id']}")
    assert len(conversation.json()["messages"]) == 2


async def test_every_read_of_every_gateway(http: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    for index, (writer, reader) in enumerate([(http, other), (other, http), (http, http)]):
        word = f"quern{index}"
        await see(reader, word, await add(writer, f"The {word} is a mill of stone.", "d"))


async def test_after_restarts(
    http: httpx.AsyncClient, tenant: str, gateway: Process, worker: Process, tmp_path: Path
) -> None:
    worker.kill()
    accepted = await add(http, "The quern is a mill of stone.", "d")
    waited = time.monotonic()
    response = await http.get("/v1/documents/d", headers={**after(accepted), "X-Millrace-Wait": "0.5"})
    assert (response.status_code, problem_type(response)) == (503, "position-not-reached")
    assert 0.5 <= time.monotonic() - waited < 5
    assert int(response.headers["retry-after"]) > 0
    gateway.kill()
    worker.start()
    gateway.start()
    await see(http, "quern", accepted)


async def test_a_wait_is_as_long_as_the_reader_says_but_no_longer_than_the_gateway(pool: Pool, tenant: str) -> None:
    token = Position(0, 1, "d").token()
    async with inside(pool, tenant) as (http, _):
        for headers, params in (
            ({"X-Millrace-Wait": "0"}, {}),
            ({}, {"wait": "0"}),
            ({"X-Millrace-Wait": "60"}, {"wait": "0"}),
        ):
            started_at = time.monotonic()
            response = await http.get("/v1/documents", headers=headers, params={"after": token, **params})
            assert (response.status_code, problem_type(response)) == (503, "position-not-reached")
            assert time.monotonic() - started_at < 5
        for bad in ("-1", "x", "nan"):
            response = await http.get("/v1/documents", params={"after": token, "wait": bad})
            assert (response.status_code, problem_type(response)) == (422, "invalid-request")


async def test_a_stream_does_not_end_before_the_write_that_it_is_given(http: httpx.AsyncClient) -> None:
    await see(http, "quern", await add(http, "The quern is a mill of stone.", "d"))
    second = await add(http, "The quern is gone.", "d")
    [*_, (_, last)] = await events(http, "GET", "/v1/documents/d/events", headers=after(second))
    assert (last["state"], last["revision"]) == ("indexed", second["revision"])


async def test_many_writes_of_many_documents_at_once(http: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    """Documents of one partition end in any order; each token waits for its own."""

    async def write_and_read(index: int) -> None:
        writer, reader = (http, other) if index % 2 else (other, http)
        accepted = await add(writer, f"Quern {index}. " * (400 if index % 5 == 0 else 1), f"d{index % 12}")

        async def seen() -> httpx.Response | None:
            got = await reader.get(f"/v1/documents/{accepted['document_id']}", headers=after(accepted))
            if got.status_code == 503 and problem_type(got) == "position-not-reached":
                return None  # a slow machine; the position stays valid
            return got

        got = await eventually(seen, deadline_s=120)
        assert got is not None
        assert got.json()["revision"] >= accepted["revision"], got.text

    await asyncio.gather(*(write_and_read(index) for index in range(48)))
