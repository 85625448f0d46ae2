"""A document's progress as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import structlog
from sse_starlette import ServerSentEvent

from db.errors import OUTAGES, DatabaseBusy
from db.processing import RANKS
from gateway.documents import service
from gateway.documents.models import Status, progress
from gateway.hub import Slow
from gateway.state import State
from schemas.events import DocumentStatus

log = structlog.get_logger()

REREAD_S = 15.0
"""How long to rely on events alone: one that was lost must not leave its follower without an end."""


async def progress_events(state: State, tenant_id: str, document_id: str) -> AsyncIterator[ServerSentEvent]:
    """The stored status, then the changes, until the newest revision's state is final.

    Subscribes before it reads the table, so that no change falls between the two. Raises `DocumentNotFound`.
    """
    with state.hub.document(tenant_id, document_id) as subscription:
        status = Status.of(await service.known(state, tenant_id, document_id))
        yield _event(status)
        while not status.state.final:
            try:
                async with asyncio.timeout(REREAD_S):
                    event = await subscription.get()
                assert isinstance(event, DocumentStatus)
                newer = _applied(status, event)
            except (TimeoutError, Slow):
                newer = await _stored(state, tenant_id, document_id, status)
            if newer is not None:
                status = newer
                yield _event(status)


async def _stored(state: State, tenant_id: str, document_id: str, status: Status) -> Status | None:
    """The stored status; None if it says nothing new, or the database is away: it is asked again later."""
    try:
        stored = Status.of(await service.known(state, tenant_id, document_id))
    except (OSError, *OUTAGES, DatabaseBusy, asyncpg.PostgresError) as error:
        log.warning("status not read", document_id=document_id, error=repr(error))
        return None
    return stored if _place(stored) > _place(status) else None


def _applied(status: Status, event: DocumentStatus) -> Status | None:
    """The status after an event; None if it says nothing new."""
    if _place(event) <= _place(status):
        return None
    chunks_total = event.chunks_total or (status.chunks_total if event.revision == status.revision else None)
    return status.model_copy(
        update={
            "revision": event.revision,
            "state": event.state,
            "visible_revision": event.revision if event.state == "indexed" else status.visible_revision,
            "chunks_total": chunks_total,
            "chunks_done": event.chunks_done,
            "progress": progress(event.state, event.chunks_done, chunks_total),
            "attempt": event.attempt,
            "error": event.error,
            "updated_at": event.at,
        }
    )


def _place(told: Status | DocumentStatus) -> tuple[int, int, int]:
    return told.revision, RANKS[told.state], told.chunks_done


def _event(status: Status) -> ServerSentEvent:
    return ServerSentEvent(event="status", data=status.model_dump_json(exclude_none=True))
