"""A document's life over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db import processing
from db.blobs import Blobs, BlobSettings
from db.pool import Pool
from schemas.events import State
from schemas.position import Position
from tests.conditions import eventually
from tests.db.rows import publish, status
from tests.gateway.inside import inside
from tests.gateway.requests import add, add_and_wait, after, events, problem_type

MARKDOWN = "# Mills\n\nA mill grinds. Größe: 5 µm – 𝄞.\n\n## Water\n\n" + "The wheel turns in the river. " * 200
BROKEN = {"file": ("c.pdf", b"%PDF-1.7 broken", "application/pdf")}
COUNTED = "Copper {0} copper {0}. " * 400


async def test_pages_join_without_doubles_or_gaps(http: httpx.AsyncClient) -> None:
    accepted = [await add(http, f"Text {index}.", f"d{index}") for index in range(7)]
    for each in accepted:
        await http.get(each["status_url"], headers=after(each))
    for size in (1, 3, 7, 200):
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = (
                await http.get("/v1/documents", params={"limit": size, **({"cursor": cursor} if cursor else {})})
            ).json()
            names += [document["document_id"] for document in page["documents"]]
            if (cursor := page["next_cursor"]) is None:
                break
            assert len(page["documents"]) == size
        assert names == [f"d{index}" for index in range(7)]


async def test_filters_of_the_list(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, "A mill.", "a", collection="mills", tags=["x"], metadata={"n": 1}, title="One")
    await add_and_wait(http, "A pump.", "b", collection="pumps")
    failing = await http.post("/v1/documents", files=BROKEN, data={"document_id": "c"})
    await http.get("/v1/documents", headers=after(failing.json()))

    async def names(**params: str) -> list[str]:
        page = (await http.get("/v1/documents", params=params)).json()
        return [document["document_id"] for document in page["documents"]]

    assert await names() == ["a", "b", "c"]
    assert await names(state="indexed") == ["a", "b"]
    assert await names(state="failed") == ["c"]
    assert await names(collection="mills") == ["a"]
    assert await names(collection="mills", state="failed") == []
    document = (await http.get("/v1/documents/a")).json()
    assert {key: document[key] for key in ("collection", "tags", "metadata", "title", "chunk_count")} == {
        "collection": "mills",
        "tags": ["x"],
        "metadata": {"n": 1},
        "title": "One",
        "chunk_count": 1,
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/documents?cursor=%00", 422),
        ("/v1/documents?collection=%00", 422),
        ("/v1/documents?limit=0", 422),
        ("/v1/documents?state=lost", 422),
        ("/v1/documents/%00", 422),
        ("/v1/documents/a%20b/status", 422),
        ("/v1/documents/nobody", 404),
        ("/v1/documents/nobody/status", 404),
        ("/v1/documents/nobody/events", 404),
        ("/v1/documents/nobody/chunks", 404),
        ("/v1/documents/nobody/content", 404),
        ("/v1/documents/nobody/chunks?cursor=x", 400),
        ("/v1/documents/nobody/chunks?cursor=99999999999999999999", 400),
        ("/v1/documents/nobody/chunks?cursor=-1", 400),
        ("/v1/documents/nobody/content?format=secret", 422),
        ("/v1/documents/nobody?after=x", 400),
        ("/v1/documents/nobody?after=%00", 400),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(http: httpx.AsyncClient, path: str, status: int) -> None:
    response = await http.get(path)
    assert response.status_code == status
    assert problem_type(response) in {"invalid-request", "document-not-found", "invalid-cursor", "invalid-position"}


@pytest.mark.parametrize("name", ["UPPER", "", "a/b", "x" * 64, "-a", "é", "*"])
async def test_a_tenant_that_is_none(http: httpx.AsyncClient, name: str) -> None:
    response = await http.get("/v1/documents", headers=[(b"X-Millrace-Tenant", name.encode())])
    assert (response.status_code, problem_type(response)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        rb'{"text": "\ud800"}',
        rb'{"text": "a", "title": "\udfff"}',
        rb'{"text": "a", "metadata": {"\ud800": 1}}',
        rb'{"text": "a", "metadata": {"a": "\u0000"}}',
        b'{"text": ""}',
        b'{"text": "a", "document_id": "../x"}',
        b"{",
        b"\xff",
        b"[]",
    ],
)
async def test_what_cannot_be_kept_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    response = await http.post("/v1/documents", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert problem_type(response) == "invalid-request"


async def test_content_comes_back_byte_for_byte(http: httpx.AsyncClient) -> None:
    data = MARKDOWN.encode()
    response = await http.post(
        "/v1/documents", files={"file": ('ein/müller "1".md', data, "text/markdown")}, data={"document_id": "d"}
    )
    await http.get("/v1/documents/d", headers=after(response.json()))
    original = await http.get("/v1/documents/d/content")
    assert original.content == data
    assert original.headers["x-content-type-options"] == "nosniff"
    assert original.headers["content-type"].startswith("text/markdown")
    disposition = original.headers["content-disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert disposition.isascii()
    assert not set('"/\r\n ') & set(disposition.removeprefix("attachment; "))

    text = (await http.get("/v1/documents/d/content?format=text")).text
    chunks: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        params: dict[str, str | int] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await http.get("/v1/documents/d/chunks", params=params)).json()
        chunks += page["chunks"]
        cursor = page["next_cursor"]
    assert len(chunks) > 3
    assert [chunk["ordinal"] for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk["text"] == text[chunk["start"] : chunk["end"]] for chunk in chunks)
    assert "𝄞" in text
    assert ["Mills", "Water"] in [chunk["heading_path"] for chunk in chunks]


async def test_content_of_what_failed_is_a_conflict(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/documents", files=BROKEN)
    accepted = response.json()
    url = f"/v1/documents/{accepted['document_id']}"
    refused = await http.get(f"{url}/content", headers=after(accepted))
    assert (refused.status_code, problem_type(refused)) == (409, "not-indexed-yet")
    status = (await http.get(f"{url}/status")).json()
    assert (status["state"], status["progress"], status["visible_revision"]) == ("failed", 1.0, None)
    assert status["error"]["type"]
    assert (await http.get(f"{url}/chunks")).json()["chunks"] == []


async def test_following_ends_with_the_final_state(http: httpx.AsyncClient) -> None:
    async def followed(number: int) -> list[dict[str, Any]]:
        accepted = await add(http, f"Text {number}.", f"d{number}")
        return [data for name, data in await events(http, "GET", accepted["events_url"]) if name == "status"]

    # Many at once, so that states change between a subscription, its first read and its first event.
    for seen in await asyncio.gather(*(followed(number) for number in range(25))):
        assert seen[-1]["state"] == "indexed"
        assert seen[-1]["progress"] == 1.0
        progress = [each["progress"] for each in seen]
        assert progress == sorted(progress)
        assert [each["state"] for each in seen].count("indexed") == 1
    again = await events(http, "GET", "/v1/documents/d0/events")
    assert [data["state"] for _, data in again] == ["indexed"]


async def test_following_ends_with_a_failure(http: httpx.AsyncClient) -> None:
    broken = await http.post("/v1/documents", files=BROKEN)
    seen = await events(http, "GET", broken.json()["events_url"])
    assert seen[-1][1]["state"] == "failed"
    assert seen[-1][1]["error"]["message"]


async def test_deleted_is_gone_at_its_position(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, "A vanishing mill.", "d")
    response = await http.delete("/v1/documents/d")
    assert response.status_code == 202
    accepted = response.json()
    assert response.headers["x-millrace-position"] == accepted["position"]
    told = await events(http, "GET", accepted["events_url"])
    assert (told[-1][1]["state"], told[-1][1]["revision"]) == ("deleted", accepted["revision"])
    assert (await http.get(accepted["status_url"])).json()["state"] == "deleted"
    for path in ("", "/chunks", "/content"):
        gone = await http.get(f"/v1/documents/d{path}", headers=after(accepted))
        assert (gone.status_code, problem_type(gone)) == (404, "document-not-found")
    assert (await http.get("/v1/documents", headers=after(accepted))).json()["documents"] == []
    hits = (await http.post("/v1/search", json={"query": "vanishing mill"}, headers=after(accepted))).json()["hits"]
    assert hits == []
    assert (await http.delete("/v1/documents/d")).status_code == 404
    # The same id may come back.
    await add_and_wait(http, "A new mill.", "d")
    assert (await http.get("/v1/documents/d/content")).text == "A new mill."


async def test_a_write_is_seen_by_the_reads_that_carry_its_position(http: httpx.AsyncClient) -> None:
    for index in range(10):
        accepted = await add(http, f"Wort{index} zum Lesen.", f"d{index}")
        found = await http.post("/v1/search", json={"query": f"Wort{index}", "mode": "text"}, headers=after(accepted))
        assert [hit["document_id"] for hit in found.json()["hits"]] == [f"d{index}"]
        listed = await http.get("/v1/documents", params={"after": accepted["position"], "state": "indexed"})
        assert len(listed.json()["documents"]) == index + 1
        got = await http.get(f"/v1/documents/d{index}", headers=after(accepted))
        assert got.json()["revision"] == accepted["revision"]


async def test_a_position_of_nowhere(http: httpx.AsyncClient) -> None:
    token = Position(0, 5, "d").token()
    for bad in ("x", token[:-1], token + "A", token.swapcase(), "é", token + "=="):
        for method, path, body in (
            ("GET", "/v1/documents", None),
            ("POST", "/v1/search", {"query": "x"}),
            ("POST", "/v1/chat", {"message": "x"}),
        ):
            response = await http.request(method, path, json=body, headers=[(b"X-Millrace-Position", bad.encode())])
            assert (response.status_code, problem_type(response)) == (400, "invalid-position")


async def test_every_answer_shows_one_revision(http: httpx.AsyncClient) -> None:
    """Replaces a document again and again while searches run in a tight loop."""
    first = await add_and_wait(http, COUNTED.format("r0"), "d")
    revisions = {first["revision"]: "r0"}
    replaced = asyncio.Event()
    seen: list[int] = []

    async def search() -> None:
        while not replaced.is_set():
            for mode in ("text", "vector", "hybrid"):
                body = {"query": "copper", "mode": mode, "limit": 100}
                hits = (await http.post("/v1/search", json=body)).json()["hits"]
                if mode == "vector" and not hits:
                    continue  # so many equal vectors come and go that the index's graph loses sight of them at times
                [revision] = {hit["revision"] for hit in hits}
                # The whole revision, and nothing but it.
                assert sorted(hit["ordinal"] for hit in hits) == list(range(len(hits)))
                assert len({word for hit in hits for word in hit["text"].split() if word.startswith("r")}) <= 2
                seen.append(revision)

    searching = [asyncio.create_task(search()) for _ in range(3)]
    for number in range(1, 6):
        accepted = await add_and_wait(http, COUNTED.format(f"r{number}"), "d")
        revisions[accepted["revision"]] = f"r{number}"
    replaced.set()
    await asyncio.gather(*searching)
    assert set(seen) <= revisions.keys()
    assert len(set(seen)) > 1
    assert len(seen) > 20


async def test_a_tenant_sees_only_its_own(http: httpx.AsyncClient, tenant: str) -> None:
    await add_and_wait(http, "A secret mill.", "d")
    other = {"X-Millrace-Tenant": f"{tenant}-2"}
    for path in ("/v1/documents/d", "/v1/documents/d/content", "/v1/documents/d/chunks", "/v1/documents/d/events"):
        assert (await http.get(path, headers=other)).status_code == 404
    assert (await http.delete("/v1/documents/d", headers=other)).status_code == 404
    assert (await http.get("/v1/documents", headers=other)).json()["documents"] == []
    assert (await http.post("/v1/search", json={"query": "secret mill"}, headers=other)).json()["hits"] == []


async def test_the_limit_of_bodies_holds_at_the_real_gateway(http: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        for _ in range(80):
            yield b" " * 65_536

    for content_type in ("application/json", "multipart/form-data; boundary=x"):
        response = await http.post("/v1/search", content=endless(), headers={"content-type": content_type})
        assert (response.status_code, problem_type(response)) == (413, "body-too-large")


async def test_following_ends_also_where_an_event_was_lost(
    environment: dict[str, str], pool: Pool, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.documents.events.REREAD_S", 0.1)
    await processing.report(pool, [status(tenant, "d", 1, State.PARSING)])
    async with inside(pool, tenant) as (http, state):  # whose hub hears nothing
        following = asyncio.create_task(events(http, "GET", "/v1/documents/d/events"))

        async def subscribed() -> bool:
            return bool(state.hub._subscriptions)

        await eventually(subscribed)
        await processing.report(pool, [status(tenant, "d", 1, State.FAILED)])
        assert (await asyncio.wait_for(following, 10))[-1][1]["state"] == "failed"


class Racing(Blobs):
    """A store that is asked for a blob just after a newer revision took its place."""

    pool: Pool
    tenant: str

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        if key.endswith("-1"):
            await publish(self.pool, self.tenant, "d", 2, ["New."])
        return await super().stream(key)


async def test_content_that_was_replaced_meanwhile_is_the_newer_one(
    environment: dict[str, str], pool: Pool, tenant: str, tmp_path: Path
) -> None:
    blobs = Racing(BlobSettings(url=str(tmp_path)))
    blobs.pool, blobs.tenant = pool, tenant
    await blobs.put(f"{tenant}/originals/d-2", b"New.")
    await processing.report(pool, [status(tenant, "d", 1, State.INDEXED)])
    await publish(pool, tenant, "d", 1, ["Old."])
    async with inside(pool, tenant, blobs=blobs) as (http, _):
        assert (await http.get("/v1/documents/d/content")).text == "New."
        gone = await http.get("/v1/documents/d/content?format=text")
        assert (gone.status_code, problem_type(gone)) == (410, "content-missing")
