"""The dead-letter operations."""

import base64
import binascii
from datetime import datetime
from typing import Annotated

import asyncpg
import orjson
from fastapi import APIRouter, Path, Query

from db import dead_letters
from db.dead_letters import LetterState
from db.errors import BlobMissing, BlobsUnavailable
from gateway.admission import Overloaded
from gateway.dead_letters import service
from gateway.dead_letters.models import (
    Discarded,
    DiscardedLetters,
    Letter,
    LetterFilter,
    LetterPage,
    Replayed,
    ReplayedLetters,
    WholeLetter,
)
from gateway.dead_letters.service import LetterNotFound, LetterNotOpen
from gateway.problems import BodyTooLarge, InvalidCursor, responses
from gateway.state import AFTER_POSITION_ERRORS, AfterPosition, StateOf, Tenant, Traceparent
from schemas.errors import BrokerUnavailable
from schemas.events import DocumentId

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

LetterId = Annotated[str, Path(max_length=300, pattern=r"^[^\x00]*$", description="The letter's id.")]
Filter = Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$", description="Only those with this one.")]


@router.get(
    "",
    response_model=LetterPage,
    summary="List dead letters",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, InvalidCursor),
)
async def list_dead_letters(
    state: StateOf,
    tenant: Tenant,
    letter_state: Annotated[LetterState | None, Query(alias="state", description="Only those in this state.")] = None,
    document_id: Annotated[DocumentId | None, Query(description="Only those of this document.")] = None,
    error_type: Filter = None,
    stage: Filter = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
) -> LetterPage:
    """What could not be processed, newest first."""
    rows = await dead_letters.page(
        state.pool,
        tenant,
        limit=limit + 1,
        before=_before(cursor) if cursor else None,
        state=letter_state,
        document_id=document_id,
        error_type=error_type,
        stage=stage,
    )
    return LetterPage(
        dead_letters=[Letter.of(row) for row in rows[:limit]],
        next_cursor=_cursor(rows[limit - 1]) if len(rows) > limit else None,
    )


@router.post(
    "/replay",
    status_code=202,
    response_model=ReplayedLetters,
    summary="Send open dead letters again",
    responses=responses(BrokerUnavailable, BodyTooLarge, BlobMissing, BlobsUnavailable, Overloaded),
)
async def replay_dead_letters(
    state: StateOf, tenant: Tenant, traceparent: Traceparent, wanted: LetterFilter
) -> ReplayedLetters:
    """Those that meet the filter, newest first, until the limit or the first that cannot be sent."""
    letter_ids, more = await service.open_letters(state, tenant, wanted)
    replayed = []
    for letter_id in letter_ids:
        state.admission.work()
        try:
            replayed.append(await service.replay(state, tenant, letter_id, traceparent))
        except LetterNotOpen:
            continue  # somebody else was faster
    return ReplayedLetters(replayed=replayed, more=more)


@router.post("/discard", response_model=DiscardedLetters, summary="Give open dead letters up", responses=responses())
async def discard_dead_letters(state: StateOf, tenant: Tenant, wanted: LetterFilter) -> DiscardedLetters:
    """Those that meet the filter, newest first, with the content of their documents."""
    letter_ids, more = await service.open_letters(state, tenant, wanted)
    discarded = []
    for letter_id in letter_ids:
        try:
            discarded.append(await service.discard(state, tenant, letter_id))
        except LetterNotOpen:
            continue  # somebody else was faster
    return DiscardedLetters(discarded=discarded, more=more)


@router.get(
    "/{letter_id}",
    response_model=WholeLetter,
    summary="Get a dead letter",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, LetterNotFound),
)
async def get_dead_letter(state: StateOf, tenant: Tenant, letter_id: LetterId) -> WholeLetter:
    """Why it could not be processed, what was done about it, and the record itself."""
    row = await dead_letters.get(state.pool, tenant, letter_id)
    if row is None:
        raise LetterNotFound(letter_id[:80])
    return WholeLetter.of(row)


@router.post(
    "/{letter_id}/replay",
    status_code=202,
    response_model=Replayed,
    summary="Send a dead letter again",
    responses=responses(
        LetterNotFound, LetterNotOpen, BrokerUnavailable, BodyTooLarge, BlobMissing, BlobsUnavailable, Overloaded
    ),
)
async def replay_dead_letter(state: StateOf, tenant: Tenant, traceparent: Traceparent, letter_id: LetterId) -> Replayed:
    """A document becomes a new revision with the same content, unless something newer was submitted meanwhile."""
    state.admission.work()
    return await service.replay(state, tenant, letter_id, traceparent)


@router.post(
    "/{letter_id}/discard",
    response_model=Discarded,
    summary="Give a dead letter up",
    responses=responses(LetterNotFound, LetterNotOpen),
)
async def discard_dead_letter(state: StateOf, tenant: Tenant, letter_id: LetterId) -> Discarded:
    """Its document's content goes with it; the letter stays, to tell what it was."""
    return await service.discard(state, tenant, letter_id)


def _cursor(row: asyncpg.Record) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row["failed_at"], row["letter_id"]])).decode()


def _before(cursor: str) -> tuple[datetime, str]:
    try:
        failed_at, letter_id = orjson.loads(base64.urlsafe_b64decode(cursor))
        before = datetime.fromisoformat(failed_at), str(letter_id)
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidCursor from error
    if before[0].tzinfo is None or "\x00" in before[1]:
        raise InvalidCursor
    return before
