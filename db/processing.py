"""`document_processing`: where each revision stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import asyncpg

from db.pool import Connection, Pool
from db.queries import load
from schemas.events import (
    BlobContent,
    DerivedEvent,
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
EARLIER = {later.value: [state for state in State if reaches(state, later)] for later in State}
"""Which states each may follow."""
REPORTED = {
    "tenant_id",
    "document_id",
    "state",
    "chunks_total",
    "chunks_done",
    "attempt",
    "error",
    "filename",
    "title",
    "media_type",
}

RevisionKey = tuple[str, str, int]
"""Tenant, document and revision."""


def key_of(event: DerivedEvent) -> RevisionKey:
    """The revision that an event is about."""
    return event.tenant_id, event.document_id, event.revision


async def report(connection: "Connection | Pool", statuses: Sequence[DocumentStatus]) -> list[bool]:
    """Store statuses of different revisions; false for each whose revision was there or further, or is forgotten."""
    rows = _queries.report_states(
        connection,
        statuses=[
            {**status.model_dump(mode="json", include=REPORTED), "revision": status.revision} for status in statuses
        ],
        earlier=EARLIER,
    )
    moved = {tuple(row) async for row in rows}
    return [key_of(status) in moved for status in statuses]


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


@dataclass(frozen=True, slots=True)
class Submission:
    """What the parse stage begins with. Its content is in the object store, or will be; as will its text."""

    revision: int
    event: DocumentSubmitted
    text_key: str

    @property
    def original(self) -> str | None:
        """The key of the content; None if it is not the tenant's own."""
        match self.event.content:
            case BlobContent(key=key) if key.startswith(f"{self.event.tenant_id}/"):
                return key
        return None


@dataclass(frozen=True, slots=True)
class Run:
    """One time that a submission is parsed; ``number`` is higher than those of all before, None if it is forgotten.

    ``is_news``: that it begins is what moved the revision; ``is_wanted``: something may still come of it;
    ``has_original``: the use of its blob has begun.
    """

    number: int | None
    is_news: bool
    is_wanted: bool
    has_original: bool


async def begin_runs(pool: Pool, submissions: Sequence[Submission]) -> list[Run]:
    """Note that submissions are parsed from now on, what they are, and that they need their blobs.

    Under the lock of each document, so that whoever ends the uses of a revision ends these, too, or they never begin: a
    run that comes too late leaves no blob behind.
    """
    rows = _queries.begin_runs(
        pool,
        runs=[
            {
                "tenant_id": each.event.tenant_id,
                "document_id": each.event.document_id,
                "revision": each.revision,
                "submission": each.event.model_dump(mode="json", exclude_none=True),
                "original": each.original,
                "text_key": each.text_key,
            }
            for each in submissions
        ],
    )
    runs = {
        (row["tenant_id"], row["document_id"], row["revision"]): Run(
            row["run"], row["run"] == 1 and row["state"] == State.PARSING, row["wanted"], row["begun"]
        )
        async for row in rows
    }
    return [runs[each.event.tenant_id, each.event.document_id, each.revision] for each in submissions]


async def wanted(connection: "Connection | Pool", revisions: Collection[RevisionKey]) -> set[RevisionKey]:
    """Of which revisions anything may still come."""
    tenant_ids, document_ids, numbers = zip(*revisions, strict=True)
    rows = _queries.wanted(connection, tenant_ids=tenant_ids, document_ids=document_ids, revisions=numbers)
    return {tuple(row) async for row in rows}


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


async def submission_of(connection: Connection, event: DerivedEvent) -> asyncpg.Record | None:
    """``submission`` and ``received_at`` of the revision that an event is about."""
    row: asyncpg.Record | None = await _queries.get_submission(
        connection, tenant_id=event.tenant_id, document_id=event.document_id, revision=event.revision
    )
    return row
