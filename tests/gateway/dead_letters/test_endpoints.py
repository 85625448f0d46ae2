"""Dead letters over HTTP, with the real worker."""

import uuid
from typing import Any

import httpx
import pytest

from millrace.client import Gateway
from schemas.broker import BrokerSettings
from schemas.events import ChatRequested
from schemas.producer import Producer
from schemas.topics import CHAT_REQUESTED
from schemas.wire import encode
from tests.conditions import eventually
from tests.gateway.requests import add_and_wait, after, problem_type


async def fail(http: httpx.AsyncClient, document_id: str) -> dict[str, Any]:
    """A document that fails, once it has."""
    files = {"file": (f"{document_id}.pdf", b"%PDF-1.7 broken", "application/pdf")}
    accepted: dict[str, Any] = (await http.post("/v1/documents", files=files, data={"document_id": document_id})).json()
    status = await http.get(accepted["status_url"], headers=after(accepted))
    assert status.json()["state"] == "failed", status.text
    return accepted


async def letters(http: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    response = await http.get("/v1/dead-letters", params=params)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["dead_letters"]
    return found


async def test_a_letter_tells_all_that_is_known(http: httpx.AsyncClient) -> None:
    accepted = await fail(http, "a")
    [letter] = await letters(http)
    assert (letter["state"], letter["document_id"], letter["revision"]) == ("open", "a", accepted["revision"])
    assert (letter["stage"], letter["topic"], letter["history"]) == ("parse", "documents.submitted", [])
    whole = (await http.get(f"/v1/dead-letters/{letter['letter_id']}")).json()
    assert whole.items() >= letter.items()
    assert whole["key"]["text"].endswith("/a")
    assert '"document_id":"a"' in whole["value"]["text"]
    assert {"name": "ce_type", "text": "millrace.document.submitted", "base64": None} in whole["headers"]


async def test_filters_and_pages(http: httpx.AsyncClient) -> None:
    for name in "abc":
        await fail(http, name)
    [newest, *_] = await letters(http)
    for params, names in (
        ({}, "cba"),
        ({"state": "open", "stage": "parse", "error_type": newest["error_type"]}, "cba"),
        ({"document_id": "b"}, "b"),
        ({"state": "replayed"}, ""),
        ({"stage": "embed"}, ""),
        ({"error_type": "none"}, ""),
    ):
        assert [letter["document_id"] for letter in await letters(http, **params)] == list(names)
    page = (await http.get("/v1/dead-letters", params={"limit": 2})).json()
    rest = (await http.get("/v1/dead-letters", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [letter["document_id"] for letter in page["dead_letters"] + rest["dead_letters"]] == list("cba")
    assert rest["next_cursor"] is None
    for bad in ("x", "W10=", "WyIyMDI2LTAxLTAxIiwgImEiXQ=="):
        response = await http.get("/v1/dead-letters", params={"cursor": bad})
        assert (response.status_code, problem_type(response)) == (400, "invalid-cursor")


async def test_a_replay_is_a_new_attempt_and_the_history_stays(http: httpx.AsyncClient) -> None:
    first = await fail(http, "a")
    [letter] = await letters(http)
    replayed = await http.post(f"/v1/dead-letters/{letter['letter_id']}/replay")
    assert replayed.status_code == 202, replayed.text
    status = (await http.get("/v1/documents/a/status", headers=after(replayed.json()))).json()
    assert status["state"] == "failed"  # it is as broken as before
    assert status["revision"] > first["revision"]
    [second, again] = await letters(http)
    assert (again["letter_id"], again["state"]) == (letter["letter_id"], "replayed")
    assert [(each["action"], each["position"]) for each in again["history"]] == [("replayed", status["revision"])]
    assert (second["state"], second["revision"]) == ("open", status["revision"])
    for action in ("replay", "discard"):
        refused = await http.post(f"/v1/dead-letters/{letter['letter_id']}/{action}")
        assert (refused.status_code, problem_type(refused)) == (409, "dead-letter-not-open")


async def test_a_replay_takes_no_newer_revisions_place(http: httpx.AsyncClient) -> None:
    await fail(http, "a")
    [letter] = await letters(http)
    await add_and_wait(http, "A mill that works.", "a")
    [superseded] = await letters(http)
    assert superseded["state"] == "superseded"
    refused = await http.post(f"/v1/dead-letters/{letter['letter_id']}/replay")
    assert (refused.status_code, problem_type(refused)) == (409, "dead-letter-not-open")


async def test_what_is_discarded_cannot_be_tried_again(http: httpx.AsyncClient) -> None:
    await fail(http, "a")
    [letter] = await letters(http)
    discarded = await http.post(f"/v1/dead-letters/{letter['letter_id']}/discard")
    assert discarded.json() == {"letter_id": letter["letter_id"]}
    [after_it] = await letters(http)
    assert (after_it["state"], after_it["history"][0]["action"]) == ("discarded", "discarded")
    retry = await http.post("/v1/documents/a/retry")
    assert (retry.status_code, problem_type(retry)) == (409, "nothing-to-retry")


async def test_many_by_what_they_have_in_common(http: httpx.AsyncClient, client: Gateway) -> None:
    for name in "abc":
        await fail(http, name)
    answer = (await http.post("/v1/dead-letters/replay", json={"stage": "parse", "limit": 2})).json()
    assert ([each["document_id"] for each in answer["replayed"]], answer["more"]) == (["c", "b"], True)
    for each in answer["replayed"]:
        assert (await client.status(each["document_id"], position=each["position"]))["state"] == "failed"
    assert sorted([letter["document_id"] async for letter in client.dead_letters(state="open")]) == list("abc")
    assert await client.discard_all(document_id="a") == {
        "discarded": [{"letter_id": each["letter_id"]} for each in await letters(http, document_id="a")],
        "more": False,
    }
    assert len((await client.discard_all())["discarded"]) == 2
    assert await letters(http, state="open") == []


@pytest.mark.parametrize("tricky", ["nothing", "a/b", "ä", "..", "x" * 400])
async def test_letters_that_are_not_there(http: httpx.AsyncClient, tricky: str) -> None:
    for method, tail in (("GET", ""), ("POST", "/replay"), ("POST", "/discard")):
        response = await http.request(method, f"/v1/dead-letters/{tricky}{tail}")
        assert response.status_code in {404, 405, 422}


async def test_letters_of_others_are_not_there(http: httpx.AsyncClient) -> None:
    await fail(http, "a")
    [letter] = await letters(http)
    other = {"X-Millrace-Tenant": "somebody-else"}
    for method, tail in (("GET", ""), ("POST", "/replay"), ("POST", "/discard")):
        response = await http.request(method, f"/v1/dead-letters/{letter['letter_id']}{tail}", headers=other)
        assert (response.status_code, problem_type(response)) == (404, "dead-letter-not-found")


async def test_what_is_no_document_is_sent_again_as_it_was(http: httpx.AsyncClient, tenant: str) -> None:
    """A question whose body is broken: it fails again, as a letter of its own, byte for byte the same."""
    question = ChatRequested(tenant_id=tenant, conversation_id="c", request_id=uuid.uuid4().hex, message="Why?")
    key, _, headers = encode(question)
    kafka = Producer(BrokerSettings())
    await kafka.start()
    await kafka.send(CHAT_REQUESTED, [(key, b"\xff no JSON", headers)])
    await kafka.stop()

    async def count(wanted: int) -> list[dict[str, Any]]:
        found = await letters(http, stage="answer")
        return found if len(found) == wanted else []

    [letter] = await eventually(lambda: count(1))
    replayed = (await http.post(f"/v1/dead-letters/{letter['letter_id']}/replay")).json()
    assert replayed == {"letter_id": letter["letter_id"], "document_id": None, "position": None}
    again, first = await eventually(lambda: count(2))
    assert (again["state"], first["state"]) == ("open", "replayed")
    wholes = [(await http.get(f"/v1/dead-letters/{each['letter_id']}")).json() for each in (again, first)]
    for part in ("key", "value", "headers", "partition"):
        assert wholes[0][part] == wholes[1][part]
    assert wholes[0]["value"] == {"text": None, "base64": "/yBubyBKU09O"}
