"""Requests that many tests make."""

from typing import Any

import httpx
import orjson
from httpx_sse import aconnect_sse

from gateway.state import POSITION_HEADER


async def add(http: httpx.AsyncClient, text: str, document_id: str | None = None, **attributes: Any) -> dict[str, Any]:
    """Add a text; what the gateway answered."""
    named = {"document_id": document_id} if document_id else {}
    response = await http.post("/v1/documents", json={"text": text, **named, **attributes})
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    return accepted


def after(accepted: dict[str, Any]) -> dict[str, str]:
    """The header that lets a read see a write."""
    return {POSITION_HEADER: accepted["position"]}


async def add_and_wait(
    http: httpx.AsyncClient, text: str, document_id: str | None = None, **attributes: Any
) -> dict[str, Any]:
    """Add a text, and return once it is found."""
    accepted = await add(http, text, document_id, **attributes)
    response = await http.get(accepted["status_url"], headers=after(accepted))
    assert response.json()["state"] == "indexed", response.text
    return accepted


async def events(http: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    """All events of a stream, up to its end."""
    async with aconnect_sse(http, method, path, **arguments) as source:
        source.response.raise_for_status()
        return [(event.event, orjson.loads(event.data)) async for event in source.aiter_sse()]


def problem_type(response: httpx.Response) -> str:
    """The tail of the problem's type, once its shape was checked."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert response.json()["status"] == response.status_code
    return str(response.json()["type"]).removeprefix("urn:millrace:problem:")
