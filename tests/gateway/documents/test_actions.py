"""Cancel, retry and reprocess over HTTP, with the real worker."""

import httpx
import pytest

from millrace.client import Gateway, GatewayError
from tests.gateway.requests import add, add_and_wait, after, problem_type

BROKEN = {"file": ("c.pdf", b"%PDF-1.7 broken", "application/pdf")}


async def outcome(http: httpx.AsyncClient, accepted: dict[str, str]) -> dict[str, object]:
    """Where the document stands once a write has its outcome."""
    response = await http.get(f"/v1/documents/{accepted['document_id']}/status", headers=after(accepted))
    status: dict[str, object] = response.json()
    assert response.status_code == 200, status
    return status


@pytest.mark.parametrize("action", ["cancel", "retry", "reprocess"])
async def test_of_what_is_not_there(http: httpx.AsyncClient, action: str) -> None:
    response = await http.post(f"/v1/documents/nothing/{action}")
    assert (response.status_code, problem_type(response)) == (404, "document-not-found")


async def test_what_is_done_can_be_neither_cancelled_nor_retried_but_reprocessed(http: httpx.AsyncClient) -> None:
    accepted = await add_and_wait(http, "A mill of stone.", "d", title="Mill", collection="mills")
    for action in ("cancel", "retry"):
        response = await http.post(f"/v1/documents/d/{action}")
        assert (response.status_code, problem_type(response)) == (409, f"nothing-to-{action}")
    again = await http.post("/v1/documents/d/reprocess")
    assert (again.status_code, again.headers["x-millrace-position"]) == (202, again.json()["position"])
    status = await outcome(http, again.json())
    assert (status["state"], status["revision"]) == ("indexed", again.json()["revision"])
    assert again.json()["revision"] > accepted["revision"]
    document = (await http.get("/v1/documents/d")).json()
    assert (document["title"], document["collection"]) == ("Mill", "mills")
    assert (await http.get("/v1/documents/d/content")).text == "A mill of stone."


async def test_what_failed_is_tried_again(http: httpx.AsyncClient) -> None:
    first = (await http.post("/v1/documents", files=BROKEN, data={"document_id": "d"})).json()
    assert (await outcome(http, first))["state"] == "failed"
    again = await http.post("/v1/documents/d/retry")
    assert again.status_code == 202
    status = await outcome(http, again.json())
    assert (status["state"], status["revision"]) == ("failed", again.json()["revision"])
    assert again.json()["revision"] > first["revision"]


async def test_what_is_cancelled_ends_so_and_can_be_tried_again(http: httpx.AsyncClient, client: Gateway) -> None:
    """A cancellation races the stages: either it comes in time, or there is nothing left to cancel."""
    text = "\n\n".join(f"Paragraph {index} of a mill that grinds on and on." for index in range(20_000))
    accepted = await add(http, text, "d")
    response = await http.post("/v1/documents/d/cancel")
    assert response.status_code == 202, response.text
    status = await outcome(http, response.json())
    assert (status["state"], status["revision"]) == ("cancelled", accepted["revision"])
    assert (await http.get("/v1/documents/d")).json()["revision"] is None
    again = await client.retry("d")
    await client.cancel("d")
    with pytest.raises(GatewayError) as refused:
        while True:  # until its end is stored, it can be cancelled over and over
            await client.cancel("d")
    assert refused.value.problem_type == "nothing-to-cancel"
    assert (await client.status("d", position=again["position"]))["state"] == "cancelled"


async def test_a_deleted_document_is_beyond_all_that(http: httpx.AsyncClient) -> None:
    await add_and_wait(http, "A mill.", "d")
    await outcome(http, (await http.delete("/v1/documents/d")).json())
    for action in ("cancel", "retry", "reprocess"):
        assert (await http.post(f"/v1/documents/d/{action}")).status_code == 404
