"""The client: what it gives, and what it raises."""

import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response

from millrace.client import Gateway, GatewayError, GatewayUnreachable
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
