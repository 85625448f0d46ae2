"""One natural example of each event, for the published contract, the documentation and the tests."""

from datetime import UTC, datetime

from schemas.events import (
    BlobContent,
    ChatCompleted,
    ChatDelta,
    ChatFailed,
    ChatRequested,
    Chunk,
    Citation,
    DocumentCancelled,
    DocumentChunked,
    DocumentDeleted,
    DocumentDropped,
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentResubmitted,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    ExtractedDocument,
    Failure,
    Origin,
    Place,
    SearchFilters,
    State,
    TextContent,
)

TENANT = "acme"
DOCUMENT = "pump-manual"
CONVERSATION = "7f3c1a9e"
REQUEST = "5b0e6c52"
ORIGIN = Origin(partition=3, position=118)
QUOTE = "Open the bleed valve before you start the pump."
CHUNK = f"{QUOTE} Close it again."

_document = ExtractedDocument(
    media_type="application/pdf",
    filename="pump-manual.pdf",
    title="Pump manual",
    collection="manuals",
    tags=("pump", "2026"),
    metadata={"machine": "P-7", "pages_reviewed": 38},
    blob_key="acme/uploads/0198c1f2",
    text_key="acme/texts/pump-manual/118",
    size_bytes=482_113,
    text_chars=61_204,
    page_count=38,
)
_chunk = Chunk(
    ordinal=0,
    text=CHUNK,
    start=1_200,
    end=1_200 + len(CHUNK),
    page=4,
    heading_path=("Start-up", "Bleeding"),
    places=(Place(start=1_200 + len(QUOTE) + 1, page=5, heading_path=("Start-up", "Bleeding")),),
    token_count=15,
    content_hash="9b74c9897bac770ffc029102a200c5de",
)

EXAMPLES: dict[type[Event], tuple[Event, ...]] = {
    DocumentSubmitted: (
        DocumentSubmitted(
            tenant_id=TENANT,
            document_id="greeting",
            media_type="text/plain",
            title="A greeting",
            tags=("hello",),
            content=TextContent(text="Hello, river."),
        ),
        DocumentSubmitted(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            media_type="application/pdf",
            filename="pump-manual.pdf",
            collection="manuals",
            metadata={"machine": "P-7"},
            content=BlobContent(key="acme/uploads/0198c1f2", size_bytes=482_113),
        ),
    ),
    DocumentDeleted: (DocumentDeleted(tenant_id=TENANT, document_id=DOCUMENT),),
    DocumentCancelled: (DocumentCancelled(tenant_id=TENANT, document_id=DOCUMENT),),
    DocumentResubmitted: (
        DocumentResubmitted(tenant_id=TENANT, document_id=DOCUMENT, revision=ORIGIN.position),
        DocumentResubmitted(tenant_id=TENANT, document_id=DOCUMENT),
    ),
    DocumentChunked: (
        DocumentChunked(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            origin=ORIGIN,
            run=1,
            document=_document,
            chunks=(_chunk,),
            chunk_total=1,
        ),
    ),
    DocumentEmbedded: (
        DocumentEmbedded(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            origin=ORIGIN,
            run=1,
            document=_document,
            chunks=(_chunk,),
            chunk_total=1,
            embedder="wordllama-256",
            dimensions=256,
        ),
    ),
    DocumentFailed: (
        DocumentFailed(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            origin=ORIGIN,
            error=Failure(type="encrypted-document", message="The document is encrypted.", stage="parse"),
        ),
    ),
    DocumentForgotten: (DocumentForgotten(tenant_id=TENANT, document_id=DOCUMENT, origin=ORIGIN),),
    DocumentDropped: (
        DocumentDropped(tenant_id=TENANT, document_id=DOCUMENT, origin=ORIGIN),
        DocumentDropped(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            origin=ORIGIN,
            error=Failure(type="superseded", message="Something newer was submitted meanwhile.", stage="parse"),
        ),
    ),
    DocumentStatus: (
        DocumentStatus(
            tenant_id=TENANT,
            document_id=DOCUMENT,
            origin=ORIGIN,
            state=State.EMBEDDING,
            chunks_total=214,
            chunks_done=64,
            filename="pump-manual.pdf",
            title="Pump manual",
            media_type="application/pdf",
            at=datetime(2026, 3, 2, 9, 30, 0, 250_000, tzinfo=UTC),
        ),
    ),
    ChatRequested: (
        ChatRequested(
            tenant_id=TENANT,
            conversation_id=CONVERSATION,
            request_id=REQUEST,
            message="What must I do before starting the pump?",
            filters=SearchFilters(collection="manuals"),
        ),
    ),
    ChatDelta: (
        ChatDelta(tenant_id=TENANT, conversation_id=CONVERSATION, request_id=REQUEST, index=0, text="Open the bleed"),
    ),
    ChatCompleted: (
        ChatCompleted(
            tenant_id=TENANT,
            conversation_id=CONVERSATION,
            request_id=REQUEST,
            message_id="0198c1f2",
            answer=f"{QUOTE} [1]",
            citations=(
                Citation(
                    number=1,
                    document_id=DOCUMENT,
                    revision=ORIGIN.position,
                    title="Pump manual",
                    page=4,
                    heading_path=("Start-up", "Bleeding"),
                    start=_chunk.start,
                    end=_chunk.start + len(QUOTE),
                    quote=QUOTE,
                ),
            ),
        ),
    ),
    ChatFailed: (
        ChatFailed(
            tenant_id=TENANT,
            conversation_id=CONVERSATION,
            request_id=REQUEST,
            error=Failure(type="answerer-unavailable", message="The answerer cannot be reached.", stage="answer"),
        ),
    ),
}
