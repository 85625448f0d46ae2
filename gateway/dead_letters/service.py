"""What the dead-letter operations do."""

import asyncpg
import structlog

from db import blob_uses, dead_letters, processing
from db.dead_letters import LetterState
from db.errors import BlobsUnavailable
from db.pool import Connection
from gateway.dead_letters.models import Discarded, LetterFilter, Replayed
from gateway.documents import service as documents
from gateway.state import State
from schemas.errors import InvalidEvent, MillraceError
from schemas.events import DocumentResubmitted, DocumentSubmitted
from schemas.position import POSITION_MAX, Position
from schemas.topics import SUBMITTED, TOPICS
from schemas.wire import decode

log = structlog.get_logger()

TOPIC_BY_NAME = {topic.name: topic for topic in TOPICS}


class LetterNotFound(MillraceError):
    """There is no such dead letter."""

    type = "dead-letter-not-found"


class LetterNotOpen(MillraceError):
    """Something was done with the dead letter already."""

    type = "dead-letter-not-open"
    hint = "Its history says what."


async def replay(state: State, tenant_id: str, letter_id: str, traceparent: str) -> Replayed:
    """Send what a letter holds once more, and note that. Raises `LetterNotFound` and `LetterNotOpen`.

    A process that ends in between leaves the letter open; of a document, a second replay then finds the first one newer
    and comes to nothing.
    """
    async with state.pool.acquire() as connection, connection.transaction():
        row = _open(await dead_letters.lock(connection, tenant_id, letter_id), letter_id)
        value = row["value"] if row["value_key"] is None else await state.blobs.get(row["value_key"])
        submission = _submission(row, value)
        if submission:
            # Whatever is newer of the document stays.
            event = DocumentResubmitted(
                tenant_id=tenant_id, document_id=submission.document_id, revision=row["revision"]
            )
            partition, position = await state.publish(SUBMITTED, event, traceparent)
        else:
            await _require_newest(connection, row)
            record = row["key"], value, dead_letters.headers_of(row)
            partition, position = await state.send(TOPIC_BY_NAME[row["topic"]], record, row["partition"])
        await dead_letters.close(connection, tenant_id, letter_id, LetterState.REPLAYED, position)
    place = None
    if row["topic"] == SUBMITTED.name and row["document_id"]:
        place = Position(partition, position, row["document_id"])
    if place and submission:
        known_of_it = submission.model_dump(include={"filename", "title", "media_type"})
        await documents.report_received(state, event, place, **known_of_it)
    return Replayed(letter_id=letter_id, document_id=row["document_id"], position=place and place.token())


async def discard(state: State, tenant_id: str, letter_id: str) -> Discarded:
    """Give up what a letter holds, a document's content with it. Raises `LetterNotFound` and `LetterNotOpen`."""
    async with state.pool.acquire() as connection, connection.transaction():
        row = _open(await dead_letters.lock(connection, tenant_id, letter_id), letter_id)
        await dead_letters.close(connection, tenant_id, letter_id, LetterState.DISCARDED)
        if row["document_id"]:
            ids = tenant_id, row["document_id"]
            await processing.forget_submission(connection, *ids, row["revision"])
            await blob_uses.end_between(
                connection, *ids, lowest=row["revision"], highest=row["revision"], derived_only=False
            )
    if row["document_id"]:
        try:
            await blob_uses.sweep(state.pool, state.blobs, [(tenant_id, row["document_id"])])
        except BlobsUnavailable as error:
            log.warning("blobs not deleted yet", document_id=row["document_id"], error=str(error))
    return Discarded(letter_id=letter_id)


async def open_letters(state: State, tenant_id: str, wanted: LetterFilter) -> tuple[list[str], bool]:
    """Ids of the open letters that a filter means, and whether there are more."""
    rows = await dead_letters.page(
        state.pool,
        tenant_id,
        limit=wanted.limit + 1,
        state=LetterState.OPEN,
        document_id=wanted.document_id,
        error_type=wanted.error_type,
        stage=wanted.stage,
    )
    return [row["letter_id"] for row in rows[: wanted.limit]], len(rows) > wanted.limit


async def _require_newest(connection: Connection, row: asyncpg.Record) -> None:
    """A deletion that is sent again would take what was submitted meanwhile with it. Raises `LetterNotOpen`."""
    if row["document_id"] is None or row["revision"] is None:
        return
    newest = await processing.newest_before(connection, row["tenant_id"], row["document_id"], POSITION_MAX + 1)
    if newest and newest["revision"] > row["revision"]:
        raise LetterNotOpen("Something newer was submitted meanwhile.")


def _submission(row: asyncpg.Record, value: bytes | None) -> DocumentSubmitted | None:
    """The submission in a letter, if that is what could not be processed."""
    if row["topic"] != SUBMITTED.name or row["revision"] is None:
        return None
    try:
        submission, _ = decode((DocumentSubmitted,), row["key"], value, dead_letters.headers_of(row))
    except InvalidEvent:
        return None
    return submission


def _open(row: asyncpg.Record | None, letter_id: str) -> asyncpg.Record:
    if row is None:
        raise LetterNotFound(letter_id[:80])
    if row["state"] != LetterState.OPEN:
        raise LetterNotOpen(f"It is {row['state']}.")
    return row
