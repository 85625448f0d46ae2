"""`document_processing`: where each revision stands."""

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import DerivedEvent, DocumentStatus, State

_queries = load("processing")

RANKS = {state: rank for rank, state in enumerate(State)}
"""States in the order of their course; nothing moves a revision out of a final one."""


async def report(connection: "Connection | Pool", status: DocumentStatus) -> bool:
    """Store a status; false where the revision was there or further already."""
    moved = await _queries.report_state(
        connection,
        tenant_id=status.tenant_id,
        document_id=status.document_id,
        revision=status.revision,
        state=status.state,
        state_rank=RANKS[status.state],
        chunks_total=status.chunks_total,
        chunks_done=status.chunks_done,
        attempt=status.attempt,
        error=status.error and status.error.model_dump(),
        filename=status.filename,
        title=status.title,
        media_type=status.media_type,
    )
    return bool(moved)


async def get(connection: Connection, event: DerivedEvent) -> DocumentStatus | None:
    """The stored status of the revision that an event is about; None if there is none any more."""
    row = await _queries.get_state(
        connection, tenant_id=event.tenant_id, document_id=event.document_id, revision=event.revision
    )
    if row is None:
        return None
    values = dict(row)
    return DocumentStatus(
        tenant_id=event.tenant_id,
        document_id=event.document_id,
        origin=event.origin,
        at=values.pop("updated_at"),
        **values,
    )


async def has_failed(connection: "Connection | Pool", tenant_id: str, document_id: str, revision: int) -> bool:
    """Whether the revision ended in the dead letter."""
    return bool(await _queries.has_failed(connection, tenant_id=tenant_id, document_id=document_id, revision=revision))


async def forget_older(connection: Connection, tenant_id: str, document_id: str, revision: int) -> None:
    """Drop the reports on revisions before this one."""
    await _queries.forget_older(connection, tenant_id=tenant_id, document_id=document_id, revision=revision)
