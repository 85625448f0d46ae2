"""The client: what it gives, and what it raises."""

import json
import pickle
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace.client import Gateway, GatewayError, GatewayUnreachable, StreamBroken
from millrace.client.gateway import FOLLOW_ATTEMPTS_MAX
from millrace.local.ports import free_port


@pytest.fixture
async def nobody() -> AsyncIterator[Gateway]:
    """A client of a port where nobody listens."""
    async with Gateway(f"http://127.0.0.1:{free_port()}") as client:
        yield client


async def test_nobody_there(nobody: Gateway, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A mill.")

    async def last(stream: AsyncIterator[object]) -> None:
        async for _ in stream:
            pass

    for attempt in (
        nobody.add_text("A mill."),
        nobody.add_file(tmp_path / "a.txt"),
        nobody.status("d"),
        nobody.delete("d"),
        nobody.search("mill"),
        nobody.readiness(),
        last(nobody.documents()),
        last(nobody.follow("d")),
        last(nobody.ask("What?")),
    ):
        with pytest.raises(GatewayUnreachable, match="cannot be reached") as caught:
            await attempt
        assert caught.value.hint
        assert caught.value.transient


async def test_refusals_carry_the_problem(client: Gateway) -> None:
    for attempt, problem_type, status in (
        (client.status("nobody"), "document-not-found", 404),
        (client.delete("nobody"), "document-not-found", 404),
        (client.search(""), "invalid-request", 422),
        (client.search("a", position="x"), "invalid-position", 400),
        (client.add_text(""), "invalid-request", 422),
    ):
        with pytest.raises(GatewayError) as caught:
            await attempt
        assert (caught.value.problem_type, caught.value.status) == (problem_type, status)
    with pytest.raises(GatewayError, match=r"There is no such document\. nobody") as caught:
        [_ async for _ in client.follow("nobody")]
    assert caught.value.problem_type == "document-not-found"
    with pytest.raises(GatewayError) as caught:
        [_ async for _ in client.ask("")]
    assert caught.value.problem_type == "invalid-request"
    with pytest.raises(GatewayError) as caught:
        async with Gateway(str(client._http.base_url), "NOT A TENANT") as other:
            await other.search("a")
    assert (caught.value.problem_type, caught.value.status) == ("invalid-request", 422)


@pytest.mark.parametrize("body", ["", "<html>", "{}", '{"type": 5, "title": null}'])
async def test_a_refusal_that_is_no_problem(body: str) -> None:
    proxy = Response(body, status_code=502)
    async with Gateway("http://proxy") as client:
        client._http._transport = httpx.ASGITransport(proxy)
        with pytest.raises(GatewayError) as caught:
            await client.status("d")
    assert caught.value.status == 502


async def test_a_day_of_a_document(client: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "mühle.md"
    path.write_text("# Mill\n\nIt was built in 1874.")
    accepted = await client.add_file(path, "text/markdown", document_id="d", collection="c")
    states = [status["state"] async for status in client.follow("d")]
    assert states[-1] == "indexed"
    assert (await client.status("d"))["revision"] == accepted["revision"]
    [document] = [document async for document in client.documents()]
    assert (document["filename"], document["collection"]) == ("mühle.md", "c")
    [hit] = (await client.search("when was it built", position=accepted["position"], limit=1))["hits"]
    assert hit["document_id"] == "d"
    names = [name async for name, _ in client.ask("When was the mill built?")]
    assert names[-1] == "completed"
    deleted = await client.delete("d")
    assert (await client.search("mill", position=deleted["position"]))["hits"] == []
    assert (await client.readiness())["ready"]


async def test_documents_come_page_by_page(client: Gateway) -> None:
    for number in range(60):
        await client.add_text(f"Text {number}.", document_id=f"d{number:02}")
    assert [document["document_id"] async for document in client.documents()] == [
        f"d{number:02}" for number in range(60)
    ]


def test_errors_survive_another_process() -> None:
    error = pickle.loads(pickle.dumps(GatewayUnreachable("http://x")))
    assert str(error) == "The gateway cannot be reached. http://x"


def status_server(*streams: list[dict[str, object]]) -> tuple[Starlette, list[str]]:
    """A gateway whose progress streams are these, one after the other, and then end."""
    left = list(streams)
    asked: list[str] = []

    async def events(request: Request) -> Response:
        asked.append(request.url.path)
        told = left.pop(0) if left else []
        body = "".join(f"event: status\ndata: {json.dumps(status)}\n\n" for status in told)
        return Response(body, media_type="text/event-stream")

    return Starlette(routes=[Route("/{path:path}", events, methods=["GET", "POST"])]), asked


def status(state: str, revision: int = 1) -> dict[str, object]:
    return {"document_id": "d", "revision": revision, "state": state, "progress": 0.5}


async def test_a_stream_that_breaks_is_taken_up_again() -> None:
    app, asked = status_server([status("indexed", 1)], [status("parsing", 2)], [], [status("indexed", 2)])
    async with Gateway("http://gateway") as client:
        client._http._transport = httpx.ASGITransport(app)
        states = [(each["state"], each["revision"]) async for each in client.follow("d", revision=2)]
    assert states == [("indexed", 1), ("parsing", 2), ("indexed", 2)]
    assert len(asked) == 4


async def test_a_stream_that_keeps_breaking_is_no_success() -> None:
    app, asked = status_server()
    async with Gateway("http://gateway") as client:
        client._http._transport = httpx.ASGITransport(app)
        with pytest.raises(StreamBroken):
            [each async for each in client.follow("d")]
        assert len(asked) == FOLLOW_ATTEMPTS_MAX
        with pytest.raises(StreamBroken):
            [each async for each in client.ask("What?")]


async def test_following_can_be_left(client: Gateway) -> None:
    await client.add_text("A mill.", document_id="d")
    async with aclosing(client.follow("d")) as states:
        assert (await anext(states))["document_id"] == "d"
