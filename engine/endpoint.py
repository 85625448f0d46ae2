"""An endpoint that speaks OpenAI's HTTP API: one try, and errors that say when to come back and hold no secrets.

Trying again is up to who asks: a stage can wait for minutes without holding anything up, somebody who searches cannot.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import SecretStr

from schemas.errors import MillraceError

TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
"""Beside every 5xx: a timeout, a lock, a replay, a limit."""
DETAIL_CHARS_MAX = 300


class Endpoint:
    """Posts JSON; raises ``unavailable`` for what may pass and ``refused`` for what will not."""

    def __init__(
        self,
        url: str,
        api_key: SecretStr | None,
        timeout_s: float,
        *,
        unavailable: type[MillraceError],
        refused: type[MillraceError],
    ) -> None:
        self._key = api_key.get_secret_value() if api_key else ""
        self._unavailable = unavailable
        self._refused = refused
        with self._own_errors():
            self._client = httpx.AsyncClient(
                base_url=url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=timeout_s,
            )

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The body of a successful answer."""
        with self._own_errors():
            response = await self._begin(path, body)
            try:
                return await response.aread()
            finally:
                await response.aclose()

    async def lines(self, path: str, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """The lines of a successful answer, as they come."""
        with self._own_errors():
            response = await self._begin(path, body)
            try:
                async for line in response.aiter_lines():
                    yield line
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _begin(self, path: str, body: dict[str, Any]) -> httpx.Response:
        request = self._client.build_request("POST", path, json=body)
        response = await self._client.send(request, stream=True)
        if not response.is_success:
            await response.aread()
            response.raise_for_status()
        return response

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            kind = self._unavailable if status in TRANSIENT_STATUS or status >= 500 else self._refused
            # Some endpoints repeat the key that they do not like.
            said = " ".join(error.response.text.split())
            said = said.replace(self._key, "***") if self._key else said
            raised = kind(f"HTTP {status}: {said[:DETAIL_CHARS_MAX]}")
            raised.retry_after_s = _retry_after_s(error.response.headers.get("Retry-After", ""))
            raise raised from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise self._refused(f"{error}") from None
        except httpx.HTTPError as error:
            raise self._unavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from None


def _retry_after_s(value: str) -> float | None:
    """The header's seconds, or its date as seconds from now."""
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
