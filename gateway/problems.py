"""Errors as RFC 9457 problem details, with a stable ``type``; nothing internal leaks."""

import math
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import Counter
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from db.errors import OUTAGES, DatabaseBusy, DatabaseUnavailable
from schemas.errors import MillraceError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""Where nothing better is known."""
FOR_NOW = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
REFUSED = Counter("millrace_refused", "Requests that were refused for now.", ["reason"])
CLIENT_LEFT = 499
"""What nginx writes into its log for a client that left before it was answered; nobody is sent it."""

STATUS_BY_TYPE = {
    "invalid-request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid-position": HTTPStatus.BAD_REQUEST,
    "invalid-cursor": HTTPStatus.BAD_REQUEST,
    "document-not-found": HTTPStatus.NOT_FOUND,
    "conversation-not-found": HTTPStatus.NOT_FOUND,
    "not-indexed-yet": HTTPStatus.CONFLICT,
    "nothing-to-cancel": HTTPStatus.CONFLICT,
    "nothing-to-retry": HTTPStatus.CONFLICT,
    "nothing-to-reprocess": HTTPStatus.CONFLICT,
    "dead-letter-not-found": HTTPStatus.NOT_FOUND,
    "dead-letter-not-open": HTTPStatus.CONFLICT,
    "content-missing": HTTPStatus.GONE,
    "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "empty-file": HTTPStatus.UNPROCESSABLE_ENTITY,
    "answer-failed": HTTPStatus.BAD_GATEWAY,
    "embedder-refused": HTTPStatus.BAD_GATEWAY,
    "embedder-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "answer-timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
    "tenant-share-exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "database-busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "position-not-reached": HTTPStatus.SERVICE_UNAVAILABLE,
    "database-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "blobs-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "broker-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The one place where an error's type becomes an HTTP status; what is not listed is ours to mend: 500."""


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:millrace:problem:document-not-found"], description="Stable; compare with this.")
    title: str
    status: int
    detail: str | None = None
    hint: str | None = None
    errors: list[dict[str, Any]] | None = Field(default=None, description="Where and why a request is not valid.")


class InvalidRequest(MillraceError):
    """The request is not valid."""

    type = "invalid-request"


class BodyTooLarge(MillraceError):
    """The request's body is larger than this server accepts."""

    type = "body-too-large"


class Refused(MillraceError):
    """There is no room for this now."""

    type = "refused"
    transient = True

    def __init__(self, detail: str | None = None, *, reason: str = "", retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(detail)
        self.reason = reason or self.type
        self.retry_after_s = retry_after_s


class InvalidCursor(MillraceError):
    """The cursor does not belong to this request."""

    type = "invalid-cursor"
    hint = "Follow next_cursor with everything else unchanged."


def problem(
    type_: str,
    title: str,
    status: int,
    *,
    detail: str | None = None,
    hint: str | None = None,
    errors: Any = None,
    retry_after_s: int = RETRY_AFTER_S,
) -> JSONResponse:
    """The response for a problem."""
    body = Problem(
        type=f"urn:millrace:problem:{type_}", title=title, status=status, detail=detail, hint=hint, errors=errors
    )
    headers = {"Retry-After": str(retry_after_s)} if status in FOR_NOW else None
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def of_error(error: MillraceError) -> JSONResponse:
    """The response for one of our errors; of those that are ours to mend, only that they happened."""
    status = STATUS_BY_TYPE.get(error.type, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("unexpected error", error_type=error.type, exc_info=error)
        return problem("internal", "Something went wrong in Millrace.", status)
    retry_after_s = math.ceil(error.retry_after_s or RETRY_AFTER_S)
    if status in FOR_NOW:
        REFUSED.labels(error.reason if isinstance(error, Refused) else error.type).inc()
    return problem(error.type, error.title(), status, detail=error.detail, hint=error.hint, retry_after_s=retry_after_s)


def install(app: FastAPI) -> None:
    """Answer every error with a problem."""

    @app.exception_handler(MillraceError)
    async def _ours(_: Request, error: MillraceError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"where": _printable(".".join(str(part) for part in each["loc"])), "why": _printable(each["msg"])}
            for each in error.errors()
        ]
        return problem(InvalidRequest.type, InvalidRequest.title(), HTTPStatus.UNPROCESSABLE_ENTITY, errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        # FastAPI wraps what stops it from reading a body.
        if isinstance(error.__cause__, MillraceError):
            return of_error(error.__cause__)
        phrase = HTTPStatus(error.status_code).phrase
        response = problem(phrase.lower().replace(" ", "-"), f"{phrase}.", error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    async def _left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_LEFT)

    async def _away(_: Request, error: Exception) -> JSONResponse:
        log.warning("database away", error=repr(error))
        return of_error(DatabaseUnavailable())

    for outage in OUTAGES:
        app.add_exception_handler(outage, _away)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error", exc_info=error)
        response = problem("internal", "Something went wrong in Millrace.", HTTPStatus.INTERNAL_SERVER_ERROR)
        # This answer is made outside of our middleware, and needs its trace the most.
        if traceparent := getattr(request.state, "traceparent", None):
            response.headers["traceparent"] = traceparent
        return response

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            # FastAPI puts every model under the media type of the route's own answer.
            for operation in (each for path in describe()["paths"].values() for each in path.values()):
                for content in (response.get("content", {}) for response in operation["responses"].values()):
                    if MEDIA_TYPE in content:
                        content[MEDIA_TYPE] = content.pop("application/json")
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]


def _printable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can name but UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()


def responses(*errors: type[MillraceError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems that an operation can answer with, beside those that all share."""
    described: dict[int | str, dict[str, Any]] = {}
    kinds: tuple[type[MillraceError], ...] = (InvalidRequest, DatabaseUnavailable, DatabaseBusy, *errors)
    for error in kinds:
        status = int(STATUS_BY_TYPE[error.type])
        known = described.setdefault(status, {"model": Problem, "description": "", "content": {MEDIA_TYPE: {}}})
        known["description"] = f"{known['description']} {error.title()}".strip()
    return described
