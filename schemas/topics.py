"""The topics, each declared once: what it carries, its key, its partitions and how long it keeps things."""

from dataclasses import dataclass, replace

from schemas.events import (
    ChatCompleted,
    ChatDelta,
    ChatFailed,
    ChatRequested,
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
)

DAY_MS = 86_400_000
FOREVER_MS = -1


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be on the broker."""

    name: str
    description: str
    key: str
    events: tuple[type[Event], ...]
    partitions: int
    retention_ms: int
    compacted: bool = False
    max_message_bytes: int = 1_048_588

    def config(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }


PIPELINE_PARTITIONS = 8
"""One number for the whole pipeline: a document stays in the same partition from stage to stage, so order holds."""
MESSAGE_BYTES_MAX = 4_194_304
"""A batch of chunks with the vectors of a wide embedder (64 x 4,000 x 2 bytes) and room to spare; also an inline text
of 262,144 characters, each of which can take 6 bytes in JSON."""

SUBMITTED = Topic(
    "documents.submitted",
    "Documents, and what is to happen to them, as their producers wrote it: with the blobs, the truth that all else is "
    "rebuilt from.",
    "tenant_id/document_id",
    (DocumentSubmitted, DocumentDeleted, DocumentCancelled, DocumentResubmitted),
    PIPELINE_PARTITIONS,
    FOREVER_MS,
    max_message_bytes=MESSAGE_BYTES_MAX,
)
CHUNKED = Topic(
    "documents.chunked",
    "Batches of chunks, from parse to embed.",
    "tenant_id/document_id",
    (DocumentChunked, DocumentFailed, DocumentForgotten, DocumentDropped),
    PIPELINE_PARTITIONS,
    7 * DAY_MS,
    max_message_bytes=MESSAGE_BYTES_MAX,
)
EMBEDDED = Topic(
    "documents.embedded",
    "The same batches with their vectors, from embed to index.",
    "tenant_id/document_id",
    (DocumentEmbedded, DocumentFailed, DocumentForgotten, DocumentDropped),
    PIPELINE_PARTITIONS,
    7 * DAY_MS,
    max_message_bytes=MESSAGE_BYTES_MAX,
)
STATUS = Topic(
    "documents.status",
    "The newest state of each document.",
    "tenant_id/document_id",
    (DocumentStatus,),
    PIPELINE_PARTITIONS,
    FOREVER_MS,
    compacted=True,
)
DEAD_LETTER = Topic(
    "documents.dead-letter",
    "What could not be processed: the original key, value and headers, its position and the reason in error_ headers.",
    "as the original",
    (),
    PIPELINE_PARTITIONS,
    FOREVER_MS,
    max_message_bytes=MESSAGE_BYTES_MAX + 65_536,
)
CHAT_REQUESTED = Topic(
    "chat.requested",
    "Questions, in the order of their conversation.",
    "tenant_id/conversation_id",
    (ChatRequested,),
    PIPELINE_PARTITIONS,
    7 * DAY_MS,
)
CHAT_EVENTS = Topic(
    "chat.events",
    "Answers as they come about.",
    "tenant_id/conversation_id",
    (ChatDelta, ChatCompleted, ChatFailed),
    PIPELINE_PARTITIONS,
    DAY_MS,
)

TOPICS = (SUBMITTED, CHUNKED, EMBEDDED, STATUS, DEAD_LETTER, CHAT_REQUESTED, CHAT_EVENTS)

GROUP_OF_STAGE = {
    "parse": ("millrace-parse", SUBMITTED),
    "embed": ("millrace-embed", CHUNKED),
    "index": ("millrace-index", EMBEDDED),
    "answer": ("millrace-answer", CHAT_REQUESTED),
}
"""Each stage's consumer group and the topic it reads."""

FIRST_GENERATION = 1
"""Of the index; its topics and groups have the plain names."""
STAGES_OF_GENERATION = ("parse", "embed", "index")
"""The stages that each index generation has for itself."""


def of_generation(topic: Topic, generation: int) -> Topic:
    """The topic as an index generation has it: between its stages one of its own; all others are shared."""
    if generation == FIRST_GENERATION or topic not in {CHUNKED, EMBEDDED}:
        return topic
    return replace(topic, name=f"{topic.name}.g{generation}")


def group_of(stage: str, generation: int) -> str:
    """The consumer group of a stage of an index generation."""
    group, _ = GROUP_OF_STAGE[stage]
    return group if generation == FIRST_GENERATION or stage not in STAGES_OF_GENERATION else f"{group}-g{generation}"
