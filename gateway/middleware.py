"""What wraps every request: trace, log, figures, and the limit of its body."""

import time
from http import HTTPStatus

import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import BodyTooLarge, of_error
from schemas.trace import child_of, trace_id

log = structlog.get_logger()

REQUEST_S = Histogram(
    "millrace_http_request_seconds",
    "Time to answer a request.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
QUIET_ROUTES = {"/healthz", "/readyz", "/metrics"}
"""Asked every few seconds by machines: counted, but not logged."""


class Observe:
    """Puts each request into a trace, logs it once it was answered, and times it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and look at what comes back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        traceparent = child_of(given.decode("ascii", "replace"))
        scope.setdefault("state", {})["traceparent"] = traceparent
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=trace_id(traceparent))
        started = time.perf_counter()
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def send_with_trace(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"traceparent", traceparent.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_trace)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUEST_S.labels(scope["method"], route, status).observe(seconds)
            if route not in QUIET_ROUTES:
                log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1_000, 1))


class LimitBody:
    """Refuses bodies over ``bytes_max``, but for multipart ones to ``streamed``: it has a limit of its own."""

    def __init__(self, app: ASGIApp, bytes_max: int, streamed: str) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on while its body stays within the limit."""
        headers = dict(scope.get("headers", []))
        multipart = headers.get(b"content-type", b"").lower().startswith(b"multipart/")
        if scope["type"] != "http" or (multipart and scope["path"] == self._streamed):
            await self._app(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._bytes_max:
            await of_error(BodyTooLarge(f"At most {self._bytes_max} bytes."))(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._bytes_max:
                raise BodyTooLarge(f"At most {self._bytes_max} bytes.")
            return message

        await self._app(scope, receive_limited, send)
