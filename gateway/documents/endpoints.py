"""The document operations."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sse_starlette import EventSourceResponse

from db import chunks, documents
from db.errors import BlobMissing, BlobsUnavailable
from engine.errors import UnsupportedMediaType
from gateway.admission import Overloaded, ShareExceeded
from gateway.documents import service
from gateway.documents.events import progress_events
from gateway.documents.models import Accepted, ChunkOut, ChunkPage, Document, DocumentPage, Status, TextDocument
from gateway.documents.service import (
    DocumentNotFound,
    NothingToCancel,
    NothingToReprocess,
    NothingToRetry,
    NotIndexedYet,
)
from gateway.documents.upload import EmptyFile, Upload
from gateway.problems import BodyTooLarge, InvalidCursor, InvalidRequest, responses
from gateway.state import (
    AFTER_POSITION_ERRORS,
    POSITION_HEADER,
    AfterPosition,
    FromPosition,
    StateOf,
    Tenant,
    Traceparent,
)
from schemas.errors import BrokerUnavailable
from schemas.events import DocumentId, DocumentSubmitted, State, Tag

router = APIRouter(prefix="/v1/documents", tags=["documents"])

DocumentIdPath = Annotated[DocumentId, Path(description="The document's id.")]
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many.")]

UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "The document; streamed, not buffered.",
                    },
                    "document_id": {"type": "string", "description": "Yours, to replace it later; made up if absent."},
                    "title": {"type": "string"},
                    "collection": {"type": "string"},
                    "tags": {"type": "string", "description": "Comma-separated, or the field several times."},
                    "metadata": {"type": "string", "description": "A JSON object."},
                    "media_type": {"type": "string", "description": "If the file's own is not right."},
                    "filename": {"type": "string", "description": "If the file's own is not right."},
                },
            }
        },
        "application/json": {"schema": TextDocument.model_json_schema(ref_template="#/components/schemas/{model}")},
    },
}


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    summary="Add a document, or a new revision of one",
    responses=responses(
        BodyTooLarge,
        UnsupportedMediaType,
        EmptyFile,
        BlobsUnavailable,
        BrokerUnavailable,
        Overloaded,
        ShareExceeded,
    ),
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def add_document(
    request: Request, response: Response, state: StateOf, tenant: Tenant, traceparent: Traceparent
) -> Accepted:
    """Send a file as multipart/form-data, or a text as JSON.

    The answer comes once Kafka has acknowledged the document: from then on it is never lost, and ends indexed or failed
    with a reason. Follow `status_url` or `events_url`, or give `position` to a read.
    """
    with state.admission.document(tenant, request) as counted:
        if request.headers.get("content-type", "").startswith("application/json"):
            event = await _text_document(counted, state, tenant)
        else:
            form, content = await Upload(state.blobs, tenant, state.settings.upload_bytes_max).receive(counted)
            event = DocumentSubmitted(tenant_id=tenant, content=content, **form.model_dump())
        accepted = await service.submit(state, event, traceparent)
    response.headers["Location"] = f"/v1/documents/{accepted.document_id}"
    return _with_position(response, accepted)


def _with_position(response: Response, accepted: Accepted) -> Accepted:
    """Say the position of a write in the header, too, that a read takes it in."""
    response.headers[POSITION_HEADER] = accepted.position
    return accepted


async def _text_document(request: Request, state: StateOf, tenant: str) -> DocumentSubmitted:
    try:
        document = TextDocument.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}.") from error
    return await service.text_submission(state, tenant, document)


@router.get(
    "",
    response_model=DocumentPage,
    summary="List documents",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS),
)
async def list_documents(
    state: StateOf,
    tenant: Tenant,
    limit: Limit = 50,
    cursor: Annotated[DocumentId | None, Query(description="next_cursor of the page before.")] = None,
    document_state: Annotated[State | None, Query(alias="state", description="Only those in this state.")] = None,
    collection: Annotated[Tag | None, Query(description="Only those in this collection.")] = None,
) -> DocumentPage:
    """Documents in the order of their ids, with the state of each."""
    rows = await documents.page(
        state.pool, tenant, after=cursor or "", limit=limit + 1, state=document_state, collection=collection
    )
    return DocumentPage(
        documents=[Document.of(row) for row in rows[:limit]],
        next_cursor=rows[limit - 1]["document_id"] if len(rows) > limit else None,
    )


@router.get(
    "/{document_id}",
    response_model=Document,
    summary="Get a document",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, DocumentNotFound),
)
async def get_document(state: StateOf, tenant: Tenant, document_id: DocumentIdPath) -> Document:
    """The document as searches see it, and where its newest revision stands."""
    return Document.of(await service.existing(state, tenant, document_id))


@router.get(
    "/{document_id}/status",
    response_model=Status,
    summary="Where a document stands",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, DocumentNotFound),
)
async def get_status(state: StateOf, tenant: Tenant, document_id: DocumentIdPath) -> Status:
    """State, progress and, if it failed, why; `deleted` for a document that was."""
    return Status.of(await service.known(state, tenant, document_id))


@router.get(
    "/{document_id}/events",
    summary="Follow a document",
    response_class=EventSourceResponse,
    dependencies=[FromPosition],
    responses=responses(*AFTER_POSITION_ERRORS, DocumentNotFound)
    | {200: {"description": "Server-sent events named `status`.", "content": {"text/event-stream": {}}}},
)
async def follow_document(state: StateOf, tenant: Tenant, document_id: DocumentIdPath) -> EventSourceResponse:
    """The document's state now, then every change, until its newest revision's state is final. With a position, the
    stream does not end before that write has."""
    await service.known(state, tenant, document_id)
    return EventSourceResponse(progress_events(state, tenant, document_id))


@router.get(
    "/{document_id}/content",
    summary="Get a document's content",
    response_class=StreamingResponse,
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, DocumentNotFound, NotIndexedYet, BlobMissing, BlobsUnavailable)
    | {200: {"description": "The content.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_content(
    state: StateOf,
    tenant: Tenant,
    document_id: DocumentIdPath,
    form: Annotated[
        Literal["original", "text"],
        Query(alias="format", description="The bytes as they were sent, or the text in which citations count."),
    ] = "original",
) -> StreamingResponse:
    """The visible revision's bytes as they were sent, or its extracted text."""
    row, parts = await service.content(state, tenant, document_id, "text_key" if form == "text" else "blob_key")
    if form == "text":
        return StreamingResponse(parts, media_type="text/plain; charset=utf-8", headers=NOSNIFF)
    # As an attachment: a page that somebody uploaded must not run in this origin.
    name = quote(row["filename"] or document_id, safe="")
    return StreamingResponse(
        parts,
        media_type=row["media_type"],
        headers=NOSNIFF | {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


NOSNIFF = {"X-Content-Type-Options": "nosniff"}


@router.get(
    "/{document_id}/chunks",
    response_model=ChunkPage,
    summary="List a document's chunks",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, DocumentNotFound, InvalidCursor),
)
async def list_chunks(
    state: StateOf,
    tenant: Tenant,
    document_id: DocumentIdPath,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
) -> ChunkPage:
    """The chunks of the visible revision, in order."""
    if cursor is not None and not re.fullmatch("[0-9]{1,9}", cursor):
        raise InvalidCursor(cursor[:80])
    row = await service.existing(state, tenant, document_id)
    rows = await chunks.page(state.pool, tenant, document_id, after=int(cursor) if cursor else -1, limit=limit + 1)
    return ChunkPage(
        document_id=document_id,
        revision=rows[0]["revision"] if rows else row["revision"],
        chunks=[ChunkOut.of(each) for each in rows[:limit]],
        next_cursor=str(rows[limit - 1]["ordinal"]) if len(rows) > limit else None,
    )


@router.delete(
    "/{document_id}",
    status_code=202,
    response_model=Accepted,
    summary="Delete a document",
    responses=responses(DocumentNotFound, BrokerUnavailable),
)
async def delete_document(
    response: Response, state: StateOf, tenant: Tenant, traceparent: Traceparent, document_id: DocumentIdPath
) -> Accepted:
    """Forget the document, its chunks and its content. A read that carries `position` does not see it any more;
    `status_url` and `events_url` say when it is `deleted`.
    """
    return _with_position(response, await service.delete(state, tenant, document_id, traceparent))


@router.post(
    "/{document_id}/cancel",
    status_code=202,
    response_model=Accepted,
    summary="Stop what is unfinished of a document",
    responses=responses(DocumentNotFound, NothingToCancel, BrokerUnavailable),
)
async def cancel_document(
    response: Response, state: StateOf, tenant: Tenant, traceparent: Traceparent, document_id: DocumentIdPath
) -> Accepted:
    """Its unfinished revisions end as `cancelled`, and what searches see of it stays as it is. One that is indexed
    before the cancellation gets there stays indexed.
    """
    return _with_position(response, await service.cancel(state, tenant, document_id, traceparent))


@router.post(
    "/{document_id}/retry",
    status_code=202,
    response_model=Accepted,
    summary="Try a document again that failed or was cancelled",
    responses=responses(DocumentNotFound, NothingToRetry, BrokerUnavailable, Overloaded),
)
async def retry_document(
    response: Response, state: StateOf, tenant: Tenant, traceparent: Traceparent, document_id: DocumentIdPath
) -> Accepted:
    """The same content as a new revision, unless something newer is submitted meanwhile."""
    return _with_position(response, await service.retry(state, tenant, document_id, traceparent))


@router.post(
    "/{document_id}/reprocess",
    status_code=202,
    response_model=Accepted,
    summary="Run a document through the pipeline again",
    responses=responses(DocumentNotFound, NothingToReprocess, BrokerUnavailable, Overloaded),
)
async def reprocess_document(
    response: Response, state: StateOf, tenant: Tenant, traceparent: Traceparent, document_id: DocumentIdPath
) -> Accepted:
    """Its newest content as a new revision, parsed, cut and embedded as it is done now. Searches see the one before
    until it is indexed.
    """
    return _with_position(response, await service.reprocess(state, tenant, document_id, traceparent))
