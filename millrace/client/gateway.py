"""A client of one gateway. Answers are the gateway's JSON, as documented in its OpenAPI description."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson
import stamina
from httpx_sse import aconnect_sse

from millrace.client.errors import GatewayError, GatewayUnreachable, StreamBroken
from schemas.events import State

Json = dict[str, Any]

TIMEOUT = httpx.Timeout(60, connect=5, read=180)
"""Uploads and answers take a while; a connection to a gateway that is there does not."""
FOLLOW_ATTEMPTS_MAX = 6
"""With stamina's pauses some five seconds: a gateway that starts anew is back by then."""


class Gateway:
    """Use it as an asynchronous context manager. Methods raise `GatewayError` and `GatewayUnreachable`."""

    def __init__(self, url: str, tenant: str | None = None) -> None:
        headers = {"X-Millrace-Tenant": tenant} if tenant else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def add_file(self, path: Path, media_type: str | None = None, **fields: str) -> Json:
        """Upload a file; ``fields`` are those of the upload form. The file is streamed."""
        with path.open("rb") as file:
            return await self._json(
                "POST",
                "/v1/documents",
                data=fields,
                files={"file": (path.name, file, media_type or "application/octet-stream")},
            )

    async def add_text(self, text: str, **attributes: Any) -> Json:
        """Add a document given as text."""
        return await self._json("POST", "/v1/documents", json={"text": text, **attributes})

    async def documents(self) -> AsyncIterator[Json]:
        """All documents, page by page."""
        async for document in self._pages("/v1/documents", "documents", {}):
            yield document

    async def status(self, document_id: str, *, position: str | None = None) -> Json:
        """Where a document stands; with the ``position`` of a write, once that has its outcome."""
        params = {"after": position} if position else {}
        return await self._json("GET", f"/v1/documents/{document_id}/status", params=params)

    async def follow(self, document_id: str, *, revision: int = 0) -> AsyncGenerator[Json]:
        """A document's states, up to the final one of ``revision`` or a newer one; comes back where a stream broke.

        Raises `StreamBroken` where it broke too often.
        """
        async for attempt in stamina.retry_context(on=_may_pass, attempts=FOLLOW_ATTEMPTS_MAX, timeout=None):
            with attempt:
                async for _, data in self._events("GET", f"/v1/documents/{document_id}/events"):
                    yield data
                    if State(data["state"]).final and data["revision"] >= revision:
                        return
                raise StreamBroken(document_id)

    async def delete(self, document_id: str) -> Json:
        """Delete a document."""
        return await self._json("DELETE", f"/v1/documents/{document_id}")

    async def cancel(self, document_id: str) -> Json:
        """Stop what is unfinished of a document."""
        return await self._json("POST", f"/v1/documents/{document_id}/cancel")

    async def retry(self, document_id: str) -> Json:
        """Try a document again that failed or was cancelled."""
        return await self._json("POST", f"/v1/documents/{document_id}/retry")

    async def reprocess(self, document_id: str) -> Json:
        """Run a document's newest content through the pipeline again."""
        return await self._json("POST", f"/v1/documents/{document_id}/reprocess")

    async def dead_letters(self, **filters: str) -> AsyncIterator[Json]:
        """Dead letters, newest first, page by page; ``filters``: state, document_id, error_type and stage."""
        async for letter in self._pages("/v1/dead-letters", "dead_letters", filters):
            yield letter

    async def dead_letter(self, letter_id: str) -> Json:
        """One dead letter with the record that it is about."""
        return await self._json("GET", f"/v1/dead-letters/{quote(letter_id, safe='')}")

    async def replay(self, letter_id: str) -> Json:
        """Send a dead letter again."""
        return await self._json("POST", f"/v1/dead-letters/{quote(letter_id, safe='')}/replay")

    async def discard(self, letter_id: str) -> Json:
        """Give a dead letter up, and its document's content with it."""
        return await self._json("POST", f"/v1/dead-letters/{quote(letter_id, safe='')}/discard")

    async def replay_all(self, **filters: Any) -> Json:
        """Send open dead letters again; ``filters``: document_id, error_type, stage and limit."""
        return await self._json("POST", "/v1/dead-letters/replay", json=filters)

    async def discard_all(self, **filters: Any) -> Json:
        """Give open dead letters up; ``filters``: document_id, error_type, stage and limit."""
        return await self._json("POST", "/v1/dead-letters/discard", json=filters)

    async def search(self, query: str, *, position: str | None = None, **options: Any) -> Json:
        """Search; ``options`` are the fields of the request, ``position`` that of a write to see."""
        headers = {"X-Millrace-Position": position} if position else {}
        return await self._json("POST", "/v1/search", json={"query": query, **options}, headers=headers)

    async def ask(self, message: str, **options: Any) -> AsyncIterator[tuple[str, Json]]:
        """Ask, and get the answer's events (``delta``, ``completed``, ``failed``) as they come."""
        async for name, data in self._events("POST", "/v1/chat", json={"message": message, "stream": True, **options}):
            yield name, data
            if name in {"completed", "failed"}:
                return
        raise StreamBroken

    async def readiness(self) -> Json:
        """What the gateway says of itself, ready or not."""
        try:
            answer: Json = (await self._http.get("/readyz")).json()
        except (httpx.TransportError, ValueError) as error:
            raise GatewayUnreachable(str(self._http.base_url)) from error
        return answer

    async def _pages(self, path: str, name: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        cursor: str | None = ""
        while cursor is not None:
            page = await self._json("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            for each in page[name]:
                yield each
            cursor = page["next_cursor"]

    async def _json(self, method: str, path: str, **arguments: Any) -> Json:
        try:
            response = await self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise GatewayUnreachable(str(self._http.base_url)) from error
        if response.is_error:
            raise _refused(response)
        answer: Json = response.json()
        return answer

    async def _events(
        self, method: str, path: str, json: Mapping[str, Any] | None = None
    ) -> AsyncIterator[tuple[str, Json]]:
        try:
            async with aconnect_sse(self._http, method, path, json=json) as source:
                if source.response.is_error:
                    await source.response.aread()
                    raise _refused(source.response)
                async for event in source.aiter_sse():
                    yield event.event, orjson.loads(event.data)
        except httpx.TransportError as error:
            raise GatewayUnreachable(str(self._http.base_url)) from error


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed in a moment; a proxy answers with a 5xx while the gateway starts anew."""
    return isinstance(error, GatewayUnreachable) or (isinstance(error, GatewayError) and error.status >= 500)


def _refused(response: httpx.Response) -> GatewayError:
    try:
        problem = dict(response.json())
        detail = " ".join(str(problem[part]) for part in ("title", "detail", "hint") if problem.get(part))
    except (ValueError, TypeError):  # not a problem of ours: some proxy's page
        problem, detail = {}, f"HTTP {response.status_code}."
    return GatewayError(
        detail, problem_type=str(problem.get("type", "")).rpartition(":")[2], status=response.status_code
    )
