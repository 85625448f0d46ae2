"""Search over HTTP: its pages, its highlights, and what it refuses."""

import base64
from typing import Any

import httpx
import orjson
import pytest

from tests.gateway.requests import add_and_wait, problem_type


async def find(http: httpx.AsyncClient, query: str, **options: Any) -> dict[str, Any]:
    response = await http.post("/v1/search", json={"query": query, **options})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_pages_follow_each_other(http: httpx.AsyncClient) -> None:
    for number in range(5):
        await add_and_wait(http, f"Mill number {number} grinds corn.", f"d{number}")
    whole = [hit["document_id"] for hit in (await find(http, "mill corn"))["hits"]]
    assert sorted(whole) == [f"d{number}" for number in range(5)]
    paged: list[str] = []
    cursor: str | None = None
    while True:
        page = await find(http, "mill corn", limit=2, cursor=cursor)
        paged += [hit["document_id"] for hit in page["hits"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert paged == whole


@pytest.mark.parametrize(
    "query", ["the", "of the and", "'; --", ":*", "a & !b | (c", '"x" <-> \\', "<b>\x02x\x03</b>", "𝄞"]
)
@pytest.mark.parametrize("mode", ["hybrid", "text", "vector"])
async def test_any_words_are_taken(http: httpx.AsyncClient, query: str, mode: str) -> None:
    await find(http, query, mode=mode)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "   "},
        {"query": "x" * 2_001},
        {"query": "a\0b"},
        {"query": "a", "limit": 0},
        {"query": "a", "limit": 101},
        {"query": "a", "mode": "magic"},
        {"query": "a", "hits_per_document": 0},
        {"query": "a", "hits_per_document": 2**40},
        {"query": "a", "filters": {"document_ids": []}},
        {"query": "a", "filters": {"document_ids": ["../x"]}},
        {"query": "a", "filters": {"metadata": {"a": "\0"}}},
        {"query": "a", "filters": {"metadata": {"a": 2**70}}},
        {"query": "a", "filters": {"tags": ["\n"]}},
        {"query": 5},
        [],
    ],
)
async def test_what_makes_no_sense_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    response = await http.post("/v1/search", json=body)
    assert response.status_code == 422, response.text
    assert problem_type(response) == "invalid-request"


@pytest.mark.parametrize(
    "body", [rb'{"query": "\ud800"}', rb'{"query": "a", "filters": {"metadata": {"\ud800": 1}}}', b"\xff", b"{"]
)
async def test_what_is_no_text_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    response = await http.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    problem_type(response)


async def test_a_cursor_that_was_tampered_with(http: httpx.AsyncClient) -> None:
    for number in range(3):
        await add_and_wait(http, f"Mill {number}.", f"d{number}")
    cursor = (await find(http, "mill", limit=1))["next_cursor"]
    fingerprint, _ = orjson.loads(base64.urlsafe_b64decode(cursor))

    def forged(content: str) -> str:
        return base64.urlsafe_b64encode(content.encode()).decode()

    for bad in (
        "x",
        "é",
        cursor[:-4],
        *(
            forged(content)
            for content in (
                "[]",
                "{}",
                "5",
                "null",
                f'["{fingerprint}", -1]',
                f'["{fingerprint}", 100000]',
                f'["{fingerprint}", "one"]',
                f'["{fingerprint}", null]',
                f'["{fingerprint}", 1e308]',
                f'["{fingerprint}", 1e999]',
                f'["{fingerprint}", [1]]',
                f'["{fingerprint}", 1, 2]',
                '["other", 1]',
            )
        ),
    ):
        response = await http.post("/v1/search", json={"query": "mill", "limit": 1, "cursor": bad})
        assert (response.status_code, problem_type(response)) == (400, "invalid-cursor"), bad
    for changed in ({"query": "pump"}, {"mode": "text"}, {"hits_per_document": 1}, {"filters": {"tags": ["x"]}}):
        response = await http.post("/v1/search", json={"query": "mill", "cursor": cursor, **changed})
        assert problem_type(response) == "invalid-cursor"


async def test_highlights_stand_where_the_words_are(http: httpx.AsyncClient) -> None:
    text = "Größe 𝄞: <b>the mills</b>, a water-mill & the mill's wheel; see http://mill.example/a-mill?x=1."
    await add_and_wait(http, text, "d")
    [hit] = (await find(http, "mill wheels", mode="text"))["hits"]
    marked = [hit["text"][span["start"] : span["end"]] for span in hit["highlights"]]
    assert {"mills", "mill", "wheel"} <= set(marked)
    assert all("mill" in each or each == "wheel" for each in marked)
    assert (await find(http, "of the"))["hits"][0]["highlights"] == []


async def test_control_characters_in_a_text_do_not_move_its_highlights(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, "One \x02 two \x03 three mill four.", "d")
    [hit] = (await find(http, "mill", mode="text"))["hits"]
    assert {hit["text"][span["start"] : span["end"]] for span in hit["highlights"]} <= {"mill"}
