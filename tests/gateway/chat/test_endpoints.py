"""Chat over HTTP: answers with citations that stand where they say, and conversations that are kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from db.pool import Pool
from gateway.hub import Hub
from gateway.settings import GatewaySettings
from schemas.events import ChatDelta, ChatFailed
from tests.conditions import eventually
from tests.gateway.inside import inside
from tests.gateway.requests import add_and_wait, events, problem_type

FACTS = """# The mill

The wheel of the mill has a diameter of 5.2 metres – größer als die alte. It was built in 1874.

# The pump

The pump of the mill lifts forty litres of water in a minute. Its bearing is oiled every week.
"""

FAILURE = {"type": "answerer-refused", "message": "No.", "stage": "answer"}
LIFTS = "How much water does the pump lift?"


async def cited(http: httpx.AsyncClient, citations: list[dict[str, Any]]) -> list[str]:
    """The quotes, each compared with the text that it is quoted from."""
    for citation in citations:
        text = (await http.get(f"/v1/documents/{citation['document_id']}/content?format=text")).text
        assert citation["quote"] == text[citation["start"] : citation["end"]]
        assert citation["quote"]
    return [citation["quote"] for citation in citations]


async def test_an_answer_quotes_what_it_rests_on(http: httpx.AsyncClient) -> None:
    accepted = await add_and_wait(http, FACTS, "facts", media_type="text/markdown", title="Facts")
    response = await http.post("/v1/chat", json={"message": "What is the diameter of the wheel?"})
    assert response.status_code == 200
    answer = response.json()
    assert "5.2 metres" in answer["answer"]
    assert any("5.2 metres" in quote for quote in await cited(http, answer["citations"]))
    assert {each["revision"] for each in answer["citations"]} == {accepted["revision"]}
    for each in answer["citations"]:
        assert f"[{each['number']}]" in answer["answer"]


async def test_a_stream_says_the_same(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, FACTS, "facts", media_type="text/markdown")
    told = await events(http, "POST", "/v1/chat", json={"message": LIFTS, "stream": True})
    names = [name for name, _ in told]
    assert names == ["delta"] * (len(told) - 1) + ["completed"]
    assert [data["index"] for _, data in told[:-1]] == list(range(len(told) - 1))
    completed = told[-1][1]
    assert "".join(data["text"] for _, data in told[:-1]) == completed["answer"]
    assert any("forty litres" in quote for quote in await cited(http, completed["citations"]))
    assert not any("tenant_id" in data for _, data in told)


async def test_a_conversation_is_kept(http: httpx.AsyncClient, tenant: str) -> None:
    await add_and_wait(http, FACTS, "facts", media_type="text/markdown")
    questions = [
        "What is the diameter of the wheel?",
        "How much water does the pump lift?",
        "How often is the bearing oiled?",
    ]
    answers = [
        (await http.post("/v1/chat", json={"message": question, "conversation_id": "c-1"})).json()
        for question in questions
    ]
    kept = (await http.get("/v1/conversations/c-1")).json()
    assert kept["title"] == questions[0]
    assert [(message["role"], message["text"]) for message in kept["messages"]] == [
        pair
        for question, answer in zip(questions, answers, strict=True)
        for pair in (("user", question), ("assistant", answer["answer"]))
    ]
    assert [message["citations"] for message in kept["messages"][1::2]] == [answer["citations"] for answer in answers]
    newest = (await http.get("/v1/conversations/c-1?limit=1")).json()["messages"]
    assert newest == kept["messages"][-1:]
    other = await http.get("/v1/conversations/c-1", headers={"X-Millrace-Tenant": f"{tenant}-2"})
    assert (other.status_code, problem_type(other)) == (404, "conversation-not-found")


async def test_only_what_the_filters_let_through_is_cited(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, "The mill was built in 1874.", "a", collection="old")
    await add_and_wait(http, "The mill was built in 1990.", "b", collection="new")
    body = {"message": "When was the mill built?", "filters": {"collection": "new"}}
    answer = (await http.post("/v1/chat", json=body)).json()
    assert {each["document_id"] for each in answer["citations"]} == {"b"}


async def test_nothing_known_nothing_cited(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/chat", json={"message": "Who is the miller?"})).json()
    assert answer["citations"] == []
    assert answer["answer"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": ""},
        {"message": " "},
        {"message": "a\0"},
        {"message": "x" * 8_001},
        {"message": "a", "conversation_id": "../x"},
    ],
)
async def test_what_is_no_question_is_refused(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await http.post("/v1/chat", json=body)
    assert (response.status_code, problem_type(response)) == (422, "invalid-request")


async def test_an_unknown_conversation(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/conversations/nothing")
    assert (response.status_code, problem_type(response)) == (404, "conversation-not-found")
    assert (await http.get("/v1/conversations/%00")).status_code == 422


@pytest.fixture
async def deaf(environment: dict[str, str], pool: Pool, tenant: str) -> AsyncIterator[tuple[httpx.AsyncClient, Hub]]:
    """A gateway whose hub does not read, so that it hears of answers only what a test tells it."""
    async with inside(pool, tenant, settings=GatewaySettings(answer_timeout_s=1)) as (http, state):
        yield http, state.hub


async def test_an_answer_that_does_not_come_is_a_problem(deaf: tuple[httpx.AsyncClient, Hub]) -> None:
    http, hub = deaf
    response = await http.post("/v1/chat", json={"message": "When?"})
    assert (response.status_code, problem_type(response)) == (504, "answer-timeout")
    assert not hub._subscriptions


async def test_every_stream_that_fails_ends_in_the_same_shape(deaf: tuple[httpx.AsyncClient, Hub], tenant: str) -> None:
    http, hub = deaf

    async def waiting() -> list[str]:
        return [request_id for kind, _, request_id in hub._subscriptions if kind == "chat"]

    async def asked(*answers: type[ChatDelta | ChatFailed]) -> list[tuple[str, dict[str, Any]]]:
        body = {"message": "When?", "stream": True, "conversation_id": "c"}
        asking = asyncio.create_task(events(http, "POST", "/v1/chat", json=body))
        [request_id] = await eventually(waiting)
        [subscription] = hub._subscriptions["chat", tenant, request_id]
        whose = {"tenant_id": tenant, "conversation_id": "c", "request_id": request_id}
        for kind in answers:
            more = {"error": FAILURE} if kind is ChatFailed else {"index": 0, "text": "In"}
            subscription.put(kind.model_validate(whose | more))
        told = await asyncio.wait_for(asking, 10)
        assert told[-1][1].pop("request_id") == request_id
        assert not hub._subscriptions
        return told

    for answers in ((), (ChatDelta,)):
        told = await asked(*answers)
        assert [name for name, _ in told] == ["delta"] * len(answers) + ["failed"]
        error = told[-1][1].pop("error")
        assert (error.keys(), error["type"]) == ({"type", "message"}, "answer-timeout")
        assert told[-1][1] == {"conversation_id": "c"}
    failed = {"conversation_id": "c", "error": {"type": "answerer-refused", "message": "No."}}
    assert await asked(ChatFailed) == [("failed", failed)]
