"""The events of the flow: what each topic carries, as pydantic models.

Bodies ignore unknown fields, so that an older worker can read a newer gateway's events during a rolling update; every
other deviation is refused.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

TenantId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
DocumentId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,199}$")]
ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}$")]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$", max_length=127)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
BlobKey = Annotated[
    str, StringConstraints(max_length=1024, pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$")
]
"""``tenant/…``, without empty or '..' parts, so that it stays where it belongs."""
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""Any text but U+0000, which Postgres cannot store."""
ShortText = Annotated[Text, StringConstraints(max_length=500)]
Natural = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A count or an offset, up to what every JSON reader holds exactly."""

INLINE_TEXT_CHARS_MAX = 262_144
"""Text that may ride inside the event; longer goes to the object store (a Kafka message is 1 MB by default)."""
METADATA_KEYS_MAX = 64
METADATA_DEPTH_MAX = 16
METADATA_BYTES_MAX = 65_536
"""As JSON: it rides along in every batch of the document's chunks."""
CHAT_MESSAGE_CHARS_MAX = 8_000
FAILURE_CHARS_MAX = 2_000


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def _storable_json(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what JSON readers would take but Postgres or the next stage's encoder would not."""
    _refuse_unstorable(value, METADATA_DEPTH_MAX)
    try:
        size_bytes = len(orjson.dumps(value))
    except TypeError as error:  # an integer beyond 64 bits, half of a surrogate pair
        raise ValueError(str(error)) from error
    if size_bytes > METADATA_BYTES_MAX:
        raise ValueError(f"{size_bytes} bytes as JSON, where {METADATA_BYTES_MAX} are allowed")
    return value


def _refuse_unstorable(value: JsonValue, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"nested deeper than {METADATA_DEPTH_MAX} levels")
    match value:
        case str() if "\0" in value:
            raise ValueError("U+0000 cannot be stored")
        case float() if not math.isfinite(value):
            raise ValueError("not a finite number")
        case list():
            for item in value:
                _refuse_unstorable(item, depth - 1)
        case dict():
            for key, item in value.items():
                _refuse_unstorable(key, depth)
                _refuse_unstorable(item, depth - 1)


def _storable_message(message: object) -> object:
    """Make any error's message fit: the report of a failure must not fail itself."""
    if not isinstance(message, str):
        return message
    text = message.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= FAILURE_CHARS_MAX else f"{text[: FAILURE_CHARS_MAX - 1]}…"


Metadata = Annotated[dict[str, JsonValue], Field(max_length=METADATA_KEYS_MAX), AfterValidator(_storable_json)]


class Model(BaseModel):
    """A frozen part of an event."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Event(Model):
    """What travels on a topic; ``event_type`` is its CloudEvents ``type``."""

    event_type: ClassVar[str]
    tenant_id: TenantId

    def key(self) -> bytes:
        """The Kafka key: the unit of order."""
        raise TypeError(f"{type(self).__name__} has no key")


class BlobContent(Model):
    """Content that was put into the object store before the event (a claim check)."""

    kind: Literal["blob"] = "blob"
    key: BlobKey
    size_bytes: Natural
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class TextContent(Model):
    """A short text that rides in the event itself."""

    kind: Literal["text"] = "text"
    text: Text = Field(max_length=INLINE_TEXT_CHARS_MAX)


class DocumentAttributes(Model):
    """What a producer says of a document beside its content."""

    media_type: MediaType
    filename: ShortText | None = None
    title: ShortText | None = None
    collection: Tag | None = None
    tags: tuple[Tag, ...] = Field(default=(), max_length=64)
    metadata: Metadata = Field(
        default_factory=dict, description="Any JSON of at most 64 KiB and 16 levels, without U+0000."
    )


class DocumentEvent(Event):
    """An event about one document; all events of a document share a key, so Kafka keeps their order."""

    document_id: DocumentId

    def key(self) -> bytes:
        """``tenant/document``."""
        return f"{self.tenant_id}/{self.document_id}".encode()


class DocumentSubmitted(DocumentEvent, DocumentAttributes):
    """A new document, or a new revision of one. Its place in the topic is its revision."""

    event_type = "millrace.document.submitted"
    content: Annotated[BlobContent | TextContent, Field(discriminator="kind")]


class DocumentDeleted(DocumentEvent):
    """The document is to be forgotten; it travels the same way as its revisions, behind them."""

    event_type = "millrace.document.deleted"


class DocumentCancelled(DocumentEvent):
    """Whatever of the document is unfinished is to stop; what readers see of it stays as it is."""

    event_type = "millrace.document.cancelled"


class DocumentResubmitted(DocumentEvent):
    """The document's newest content once more, as a revision of its own: a retry, a replay or a reprocessing.

    It takes effect only if nothing newer than ``revision`` was submitted in between.
    """

    event_type = "millrace.document.resubmitted"
    revision: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None
    """The revision that is meant; whichever is the newest if absent."""


class Origin(Model):
    """Where in ``documents.submitted`` a derived event began."""

    partition: int = Field(ge=0)
    position: Natural = Field(ge=1)


class DerivedEvent(DocumentEvent):
    """An event that a stage made from a submission."""

    origin: Origin

    @property
    def revision(self) -> int:
        """The document's revision: the position of its submission."""
        return self.origin.position


class Place(Model):
    """Where in a chunk another page or another section begins: what stands there holds up to the next one."""

    start: Natural
    """In characters of the document."""
    page: int | None = Field(default=None, ge=1)
    heading_path: tuple[Text, ...] = ()


class Chunk(Model):
    """A stretch of a document's extracted text: ``text == document_text[start:end]``, in characters."""

    ordinal: Natural
    text: Text
    start: Natural
    end: Natural
    page: int | None = Field(default=None, ge=1)
    heading_path: tuple[Text, ...] = ()
    places: tuple[Place, ...] = ()
    """Where in it other pages and sections begin, in order; up to the first, ``page`` and ``heading_path`` hold."""
    token_count: Natural
    content_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Of what is embedded (heading path and text), so an unchanged chunk keeps its vector."""

    def embedding_input(self) -> str:
        """The headings above the chunk, then its text: a chunk alone often lacks the word that a question uses."""
        return "\n".join((*self.heading_path, self.text))


class ExtractedDocument(DocumentAttributes):
    """What is known of a document once it was parsed."""

    blob_key: BlobKey
    text_key: BlobKey
    """Where in the object store the extracted text lies (UTF-8): chunks and citations count their characters in it."""
    size_bytes: Natural
    text_chars: Natural
    page_count: Natural | None = None


class DocumentChunked(DerivedEvent):
    """A batch of a revision's chunks, in order; the last one closes the revision."""

    event_type = "millrace.document.chunked"
    run: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Which time it is that this submission is parsed; chunks of two runs do not fit together."""
    document: ExtractedDocument
    chunks: tuple[Chunk, ...] = Field(min_length=1)
    chunk_total: int = Field(ge=1)

    @property
    def last(self) -> bool:
        """Whether this batch closes the revision."""
        return self.chunks[-1].ordinal == self.chunk_total - 1


class DocumentEmbedded(DocumentChunked):
    """The same batch with its vectors, which follow the JSON body as raw little-endian float16 (see `schemas.wire`)."""

    event_type = "millrace.document.embedded"
    embedder: ShortText
    dimensions: int = Field(ge=1, le=4_000)


class Failure(Model):
    """Why something ended."""

    type: str
    message: Annotated[str, BeforeValidator(_storable_message)]
    stage: str
    attempt: int = Field(default=1, ge=1)


class DocumentFailed(DerivedEvent):
    """A revision ended in the dead letter; it takes the place of the chunks that will not come."""

    event_type = "millrace.document.failed"
    error: Failure


class DocumentForgotten(DerivedEvent):
    """A deletion on its way behind the revisions that it ends."""

    event_type = "millrace.document.forgotten"


class DocumentDropped(DerivedEvent):
    """Nothing comes of a place in the log: what it asked for is done, or is not wanted any more."""

    event_type = "millrace.document.dropped"
    error: Failure | None = None
    """Why the revision that it would have become ends as cancelled; absent where it would have become none."""


class State(StrEnum):
    """Where a revision stands, in the order of its course."""

    RECEIVED = "received"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    INDEXED = "indexed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETING = "deleting"
    DELETED = "deleted"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the revision."""
        return not TRANSITIONS[self]


_ENDED_EARLY = frozenset({State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.PARSING}) | _ENDED_EARLY,
    State.PARSING: frozenset({State.EMBEDDING}) | _ENDED_EARLY,
    # One batch of chunks may be the whole document; then it is indexed at once.
    State.EMBEDDING: frozenset({State.INDEXING, State.INDEXED}) | _ENDED_EARLY,
    State.INDEXING: frozenset({State.INDEXED}) | _ENDED_EARLY,
    State.INDEXED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    # A deletion is a revision, too, which nothing cancels.
    State.DELETING: frozenset({State.DELETED, State.FAILED}),
    State.DELETED: frozenset(),
}
"""Every state that a revision can be in, and those that may follow it. A report of a state that does not follow, by
however many others, changes nothing: it comes late, or again. A revision begins with what is reported first."""


def reaches(state: State, later: State) -> bool:
    """Whether ``later`` lies behind ``state``, directly or by way of others."""
    return any(following is later or reaches(following, later) for following in TRANSITIONS[state])


class DocumentStatus(DerivedEvent):
    """The newest state of a document; the topic is compacted, so the last one stays.

    States on the way that last a moment only are not told.
    """

    event_type = "millrace.document.status"
    state: State
    chunks_total: int | None = None
    chunks_done: int = 0
    attempt: int = 1
    error: Failure | None = None
    filename: ShortText | None = None
    title: ShortText | None = None
    media_type: str | None = None
    at: AwareDatetime = Field(default_factory=now)


class SearchFilters(Model):
    """Which documents a search looks at; a document must meet every filter that is given."""

    document_ids: tuple[DocumentId, ...] | None = Field(default=None, min_length=1, max_length=1_000)
    collection: Tag | None = None
    tags: tuple[Tag, ...] | None = Field(default=None, min_length=1, max_length=64, description="All of these.")
    media_types: tuple[MediaType, ...] | None = Field(
        default=None, min_length=1, max_length=64, description="Any of these."
    )
    metadata: Metadata | None = Field(default=None, description="Equal at each of these keys.")


class ChatEventBase(Event):
    """An event about one conversation; all of them share a key."""

    conversation_id: ConversationId
    request_id: Text = Field(min_length=1, max_length=64)

    def key(self) -> bytes:
        """``tenant/conversation``."""
        return f"{self.tenant_id}/{self.conversation_id}".encode()


class ChatRequested(ChatEventBase):
    """Somebody asked something."""

    event_type = "millrace.chat.requested"
    message: Text = Field(min_length=1, max_length=CHAT_MESSAGE_CHARS_MAX)
    filters: SearchFilters | None = None


class Citation(Model):
    """A passage that supports an answer: ``quote == document_text[start:end]``."""

    number: int = Field(ge=1, description="The [n] in the answer.")
    document_id: DocumentId
    revision: int
    title: ShortText | None = None
    filename: ShortText | None = None
    page: int | None = None
    heading_path: tuple[Text, ...] = ()
    start: Natural = Field(description="In characters of the document's extracted text.")
    end: Natural
    quote: Text = Field(description="Empty once it is withdrawn.")
    withdrawn: bool = Field(default=False, description="Whether the document was deleted since.")


class ChatDelta(ChatEventBase):
    """The next piece of an answer. An ``index`` of 0 begins it, also anew after a try that failed on the way."""

    event_type = "millrace.chat.delta"
    index: Natural
    text: Text


class ChatCompleted(ChatEventBase):
    """The whole answer, as it was stored."""

    event_type = "millrace.chat.completed"
    message_id: Text
    answer: Text
    citations: tuple[Citation, ...] = ()


class ChatFailed(ChatEventBase):
    """The answer did not come about."""

    event_type = "millrace.chat.failed"
    error: Failure
