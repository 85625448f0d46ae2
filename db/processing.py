"""`document_processing`: where each revision stands."""

from collections.abc import Sequence

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import (
    DerivedEvent,
    DocumentChunked,
    DocumentStatus,
    DocumentSubmitted,
    Failure,
    State,
    reaches,
)

_queries = load("processing")

RANKS = {state: rank for rank, state in enumerate(State)}
"""States in the order of their course."""
UNFINISHED = [state for state in State if not state.final]
CANCELLABLE = [state for state in State if reaches(state, State.CANCELLED)]


async def report(connection: "Connection | Pool", status: DocumentStatus) -> bool:
    """Store a status; false where the revision was there or further already, or is forgotten."""
    moved = await _queries.report_state(
        connection,
        tenant_id=status.tenant_id,
        document_id=status.document_id,
        revision=status.revision,
        state=status.state,
        earlier=[state for state in State if reaches(state, status.state)],
        chunks_total=status.chunks_total,
        chunks_done=status.chunks_done,
        attempt=status.attempt,
        error=status.error and status.error.model_dump(),
        filename=status.filename,
        title=status.title,
        media_type=status.media_type,
    )
    return bool(moved)


async def keep_submission(connection: "Connection | Pool", revision: int, submission: DocumentSubmitted) -> None:
    """Note what was submitted; what was noted first stays."""
    await _queries.keep_submission(
        connection,
        tenant_id=submission.tenant_id,
        document_id=submission.document_id,
        revision=revision,
        submission=submission.model_dump(mode="json", exclude_none=True),
    )


async def forget_submission(connection: Connection, tenant_id: str, document_id: str, revision: int) -> None:
    """Give up the content of a revision."""
    await _queries.forget_submission(connection, tenant_id=tenant_id, document_id=document_id, revision=revision)


async def note_attempt(pool: Pool, tenant_id: str, document_id: str, revision: int, attempt: int) -> None:
    """Note how often a stage has tried so far."""
    await _queries.note_attempt(
        pool,
        tenant_id=tenant_id,
        document_id=document_id,
        revision=revision,
        attempt=attempt,
        unfinished=UNFINISHED,
    )


async def next_run(pool: Pool, tenant_id: str, document_id: str, revision: int) -> int | None:
    """The number of a run of the parse stage that begins now, higher than all before; None if nobody waits for it."""
    run: int | None = await _queries.next_run(pool, tenant_id=tenant_id, document_id=document_id, revision=revision)
    return run


async def store_run(connection: Connection, batch: DocumentChunked) -> str | None:
    """Store the chunks of a batch's run from now on; the key of the text that the one before had made, if there was."""
    before: str | None = await _queries.store_run(
        connection,
        tenant_id=batch.tenant_id,
        document_id=batch.document_id,
        revision=batch.revision,
        run=batch.run,
        text_key=batch.document.text_key,
    )
    return before


async def is_wanted(connection: "Connection | Pool", tenant_id: str, document_id: str, revision: int) -> bool:
    """Whether anything may still come of a revision."""
    return bool(
        await _queries.is_wanted(
            connection, tenant_id=tenant_id, document_id=document_id, revision=revision, unfinished=UNFINISHED
        )
    )


async def cancel_before(
    connection: Connection, tenant_id: str, document_id: str, position: int, error: Failure
) -> Sequence[asyncpg.Record]:
    """End the unfinished revisions before a place in the log, and give those that ended so, now or before."""
    return [
        row
        async for row in _queries.cancel_before(
            connection,
            tenant_id=tenant_id,
            document_id=document_id,
            position=position,
            error=error.model_dump(),
            cancellable=CANCELLABLE,
        )
    ]


async def newest_before(
    connection: "Connection | Pool", tenant_id: str, document_id: str, position: int
) -> asyncpg.Record | None:
    """``revision``, ``state`` and ``submission`` of the newest revision before a place, and ``visible_revision``."""
    row: asyncpg.Record | None = await _queries.newest_before(
        connection, tenant_id=tenant_id, document_id=document_id, position=position
    )
    return row


async def get(connection: "Connection | Pool", event: DerivedEvent) -> DocumentStatus | None:
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


async def run_of(connection: Connection, event: DerivedEvent) -> asyncpg.Record | None:
    """``state``, ``submission``, stored ``run`` and ``received_at`` of the revision that an event is about."""
    row: asyncpg.Record | None = await _queries.get_run(
        connection, tenant_id=event.tenant_id, document_id=event.document_id, revision=event.revision
    )
    return row


async def forget_older(connection: Connection, tenant_id: str, document_id: str, revision: int) -> None:
    """Drop the reports on revisions before this one."""
    await _queries.forget_older(connection, tenant_id=tenant_id, document_id=document_id, revision=revision)
