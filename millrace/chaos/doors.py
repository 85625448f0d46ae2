"""The doors that clients use, and what an answer at each of them means for the history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from httpx_sse import SSEError, aconnect_sse

from millrace.chaos.history import History, Json, Operation
from schemas.events import DocumentEvent
from schemas.position import OFFSET_BITS, Position, position_of
from schemas.topics import SUBMITTED
from schemas.wire import encode

REQUEST_TIMEOUT_S = 15.0
"""Longer than a gateway waits for a position; a paused one must not hold its clients for ever."""
ANSWER_TIMEOUT_S = 30.0
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
ABSENT = {"document-not-found", "not-indexed-yet", "content-missing", "conversation-not-found"}
"""Problems that answer a read: there is no such thing."""
REFUSING_503 = {"overloaded"}
"""Of the 5xx those that say that nothing was written; after any other one it may have been."""


class HttpDoor:
    """One gateway, as any of the tenants. No call raises for what the gateway or the network does."""

    def __init__(self, url: str, history: History) -> None:
        self._history = history
        self._http = httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(REQUEST_TIMEOUT_S, connect=3))

    async def aclose(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def write(self, operation: Operation, method: str, path: str, **arguments: Any) -> Json | None:
        """A write; its acknowledgement, or None where it was refused or nobody knows."""
        response = await self._answer(operation, method, path, arguments)
        if response is None:
            return None
        if response.is_success:
            told = response.json()
            operation.ok(**{name: told.get(name) for name in ("document_id", "revision", "position")})
            return operation.response
        problem = _problem(response)
        if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR or problem in REFUSING_503:
            operation.refused(error=problem, status=response.status_code)
        else:
            operation.unknown(error=problem, status=response.status_code)
        return None

    async def read(self, operation: Operation, method: str, path: str, **arguments: Any) -> httpx.Response | None:
        """A read: the answer, for the caller to record. None where there was none, or that there is no such thing."""
        response = await self._answer(operation, method, path, arguments)
        if response is None or response.is_success:
            return response
        problem = _problem(response)
        if problem in ABSENT:
            operation.ok(found=False, error=problem)
        elif response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            operation.refused(error=problem, status=response.status_code)
        else:
            operation.unknown(error=problem, status=response.status_code)
        return None

    async def stream(self, operation: Operation, path: str, tenant: str, body: Json) -> AsyncIterator[tuple[str, Json]]:
        """The events of an answer that comes in pieces, up to where it ends or breaks."""
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=3)
        try:
            async with aconnect_sse(
                self._http, "POST", path, json=body, headers={"X-Millrace-Tenant": tenant}, timeout=timeout
            ) as source:
                if source.response.is_error:
                    await source.response.aread()
                    operation.unknown(error=_problem(source.response), status=source.response.status_code)
                    return
                async for event in source.aiter_sse():
                    yield event.event, orjson.loads(event.data)
        except (httpx.TransportError, SSEError) as error:
            operation.unknown(error=type(error).__name__)

    async def _answer(
        self, operation: Operation, method: str, path: str, arguments: dict[str, Any]
    ) -> httpx.Response | None:
        headers = {"X-Millrace-Tenant": operation.tenant} | arguments.pop("headers", {})
        try:
            return await self._http.request(method, path, headers=headers, **arguments)
        except NOT_SENT as error:
            operation.refused(error=type(error).__name__)
        except httpx.TransportError as error:
            operation.unknown(error=type(error).__name__)
        return None


class KafkaDoor:
    """Straight onto `documents.submitted`, as any Kafka client."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.epoch: int | None = None
        """The high part of positions; known from the first acknowledgement over HTTP, since a broker cannot tell it."""

    @classmethod
    @asynccontextmanager
    async def open(cls, bootstrap_servers: str) -> AsyncIterator["KafkaDoor"]:
        """Connect; Kafka must be up by then."""
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, request_timeout_ms=10_000
        )
        await producer.start()
        try:
            yield cls(producer)
        finally:
            await producer.stop()

    def learn_epoch(self, revision: int) -> None:
        """Take the epoch from a revision that a gateway told."""
        self.epoch = (revision - 1) >> OFFSET_BITS

    async def write(self, operation: Operation, event: DocumentEvent) -> Json | None:
        """Send an event; its acknowledgement in the shape of the gateway's, or None where nobody knows."""
        assert self.epoch is not None
        key, value, headers = encode(event)
        try:
            written = await self._producer.send_and_wait(SUBMITTED.name, value, key=key, headers=headers)
        except KafkaError as error:
            operation.unknown(error=type(error).__name__)
            return None
        if written.offset < 0:
            operation.unknown(error="no place")
            return None
        place = Position(written.partition, position_of(self.epoch, written.offset), event.document_id)
        operation.ok(document_id=event.document_id, revision=place.position, position=place.token())
        return operation.response


def _problem(response: httpx.Response) -> str:
    try:
        return str(response.json()["type"]).rpartition(":")[2]
    except (ValueError, TypeError, KeyError):  # no problem of the gateway's
        return f"http-{response.status_code}"
