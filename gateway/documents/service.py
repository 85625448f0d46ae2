"""What the document operations share."""

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import asyncpg
import structlog

from db import documents, processing
from db.errors import OUTAGES, BlobMissing, DatabaseBusy
from gateway.documents.models import Accepted, TextDocument
from gateway.state import State
from schemas.errors import MillraceError
from schemas.events import (
    BlobContent,
    DocumentAttributes,
    DocumentCancelled,
    DocumentDeleted,
    DocumentEvent,
    DocumentResubmitted,
    DocumentStatus,
    DocumentSubmitted,
    Origin,
)
from schemas.events import State as DocumentState
from schemas.position import POSITION_MAX, Position
from schemas.topics import SUBMITTED

log = structlog.get_logger()

RETRIED_STATES = {DocumentState.FAILED, DocumentState.CANCELLED}


class DocumentNotFound(MillraceError):
    """There is no such document."""

    type = "document-not-found"


class NothingToCancel(MillraceError):
    """Nothing of the document is unfinished."""

    type = "nothing-to-cancel"


class NothingToRetry(MillraceError):
    """The document has nothing that could be tried again."""

    type = "nothing-to-retry"
    hint = "To run one through the pipeline that is indexed, reprocess it."


class NothingToReprocess(MillraceError):
    """The document's content is not known any more."""

    type = "nothing-to-reprocess"


class NotIndexedYet(MillraceError):
    """The document has no visible revision yet."""

    type = "not-indexed-yet"
    hint = "Its status says how far it is, or why it failed."


async def submit(state: State, event: DocumentSubmitted, traceparent: str) -> Accepted:
    """Write a submission to the log and say where it stands."""
    structlog.contextvars.bind_contextvars(document_id=event.document_id)
    place = await _write(state, event, traceparent)
    # The stages will say the same in a moment; said here too, the status URL answers from the first moment on.
    await report_received(state, event, place, filename=event.filename, title=event.title, media_type=event.media_type)
    return _accepted(place)


async def text_submission(state: State, tenant_id: str, document: TextDocument) -> DocumentSubmitted:
    """Put a text given in a request into the object store, and make the event that submits it."""
    data = document.text.encode()
    content = BlobContent(key=f"{tenant_id}/originals/{uuid.uuid4().hex}", size_bytes=len(data))
    await state.blobs.put(content.key, data)
    return DocumentSubmitted(
        tenant_id=tenant_id,
        content=content,
        document_id=document.document_id or uuid.uuid4().hex,
        **document.model_dump(include=set(DocumentAttributes.model_fields)),
    )


async def delete(state: State, tenant_id: str, document_id: str, traceparent: str) -> Accepted:
    """Write a deletion to the log. Raises `DocumentNotFound`."""
    await existing(state, tenant_id, document_id)
    event = DocumentDeleted(tenant_id=tenant_id, document_id=document_id)
    place = await _write(state, event, traceparent)
    await report_received(state, event, place)
    return _accepted(place)


async def cancel(state: State, tenant_id: str, document_id: str, traceparent: str) -> Accepted:
    """Write a cancellation to the log. Raises `DocumentNotFound` and `NothingToCancel`."""
    row = await existing(state, tenant_id, document_id)
    if DocumentState(row["state"]).final:
        raise NothingToCancel(f"It is {row['state']}.")
    event = DocumentCancelled(tenant_id=tenant_id, document_id=document_id)
    return _accepted(await _write(state, event, traceparent))


async def retry(state: State, tenant_id: str, document_id: str, traceparent: str) -> Accepted:
    """Submit what failed or was cancelled once more. Raises `DocumentNotFound` and `NothingToRetry`."""
    state.admission.work()
    await existing(state, tenant_id, document_id)
    newest = await processing.newest_before(state.pool, tenant_id, document_id, POSITION_MAX + 1)
    if newest is None or newest["submission"] is None:
        raise NothingToRetry("Its content is not known any more.")
    if newest["state"] not in RETRIED_STATES:
        raise NothingToRetry(f"It is {newest['state']}.")
    event = DocumentResubmitted(tenant_id=tenant_id, document_id=document_id, revision=newest["revision"])
    return await _resubmit(state, event, newest["submission"], traceparent)


async def reprocess(state: State, tenant_id: str, document_id: str, traceparent: str) -> Accepted:
    """Submit the newest content once more. Raises `DocumentNotFound` and `NothingToReprocess`."""
    state.admission.work()
    await existing(state, tenant_id, document_id)
    newest = await processing.newest_before(state.pool, tenant_id, document_id, POSITION_MAX + 1)
    if newest is None or newest["submission"] is None:
        raise NothingToReprocess
    event = DocumentResubmitted(tenant_id=tenant_id, document_id=document_id)
    return await _resubmit(state, event, newest["submission"], traceparent)


async def _resubmit(
    state: State, event: DocumentResubmitted, submission: Mapping[str, Any], traceparent: str
) -> Accepted:
    place = await _write(state, event, traceparent)
    known_of_it = {name: submission.get(name) for name in ("filename", "title", "media_type")}
    await report_received(state, event, place, **known_of_it)
    return _accepted(place)


async def existing(state: State, tenant_id: str, document_id: str) -> asyncpg.Record:
    """A document's row. Raises `DocumentNotFound`, also for one that was deleted."""
    row = await known(state, tenant_id, document_id)
    if row["state"] == DocumentState.DELETED:
        raise DocumentNotFound(document_id)
    return row


async def known(state: State, tenant_id: str, document_id: str) -> asyncpg.Record:
    """A document's row, also if it was deleted: its tombstone says so. Raises `DocumentNotFound`."""
    structlog.contextvars.bind_contextvars(document_id=document_id)
    row = await documents.get(state.pool, tenant_id, document_id)
    if row is None:
        raise DocumentNotFound(document_id)
    return row


async def content(
    state: State, tenant_id: str, document_id: str, key: Literal["blob_key", "text_key"]
) -> tuple[asyncpg.Record, AsyncIterator[bytes]]:
    """A document's row and one of its blobs. Raises `DocumentNotFound`, `NotIndexedYet` and what blobs raise."""
    row = await existing(state, tenant_id, document_id)
    if row[key] is None:
        raise NotIndexedYet(document_id)
    try:
        return row, await state.blobs.stream(row[key])
    except BlobMissing:
        # A newer revision may have taken its place since, and its blobs with it.
        newer = await existing(state, tenant_id, document_id)
        if newer[key] in {None, row[key]}:
            raise
        return newer, await state.blobs.stream(newer[key])


async def report_received(
    state: State,
    event: DocumentSubmitted | DocumentDeleted | DocumentResubmitted,
    place: Position,
    **known_of_it: str | None,
) -> None:
    """Let the status say already that a revision was received; the stages will say it in a moment."""
    status = DocumentStatus(
        tenant_id=event.tenant_id,
        document_id=event.document_id,
        origin=Origin(partition=place.partition, position=place.position),
        state=DocumentState.DELETING if isinstance(event, DocumentDeleted) else DocumentState.RECEIVED,
        **known_of_it,
    )
    try:
        await processing.report(state.pool, [status])
    except (OSError, *OUTAGES, DatabaseBusy, asyncpg.PostgresError) as error:
        # The log has the document, and that is what was promised.
        log.warning("status not stored", document_id=status.document_id, error=repr(error))


async def _write(state: State, event: DocumentEvent, traceparent: str) -> Position:
    """Write an event about a document to the log; its position once that is acknowledged."""
    return Position(*await state.publish(SUBMITTED, event, traceparent), event.document_id)


def _accepted(place: Position) -> Accepted:
    url = f"/v1/documents/{place.document_id}"
    return Accepted(
        document_id=place.document_id,
        revision=place.position,
        position=place.token(),
        status_url=f"{url}/status",
        events_url=f"{url}/events",
    )
