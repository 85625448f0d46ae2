"""A document's progress as server-sent events."""

from collections.abc import AsyncIterator

from sse_starlette import ServerSentEvent

from db.processing import RANKS
from gateway.documents import service
from gateway.documents.models import Status, progress
from gateway.hub import Slow
from gateway.state import State
from schemas.events import DocumentStatus


async def progress_events(state: State, tenant_id: str, document_id: str) -> AsyncIterator[ServerSentEvent]:
    """The stored status, then the changes, until the newest revision's state is final.

    Subscribes before it reads the table, so that no change falls between the two.
    """
    with state.hub.document(tenant_id, document_id) as subscription:
        status = Status.of(await service.existing(state, tenant_id, document_id))
        yield _event(status)
        while not status.state.final:
            try:
                event = await subscription.get()
            except Slow:
                return
            assert isinstance(event, DocumentStatus)
            if (newer := _applied(status, event)) is not None:
                status = newer
                yield _event(status)


def _applied(status: Status, event: DocumentStatus) -> Status | None:
    """The status after an event; None if it says nothing new."""
    if (event.revision, RANKS[event.state], event.chunks_done) <= (
        status.revision,
        RANKS[status.state],
        status.chunks_done,
    ):
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


def _event(status: Status) -> ServerSentEvent:
    return ServerSentEvent(event="status", data=status.model_dump_json(exclude_none=True))
