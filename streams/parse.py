"""Parse and chunk: from a submission to batches of chunks, or to the reason why there are none."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka.partitioner import murmur2

from db.blobs import Blobs
from schemas.errors import MillraceError
from schemas.events import (
    BlobContent,
    Chunk,
    DocumentAttributes,
    DocumentChunked,
    DocumentDeleted,
    DocumentForgotten,
    DocumentStatus,
    DocumentSubmitted,
    ExtractedDocument,
    Failure,
    State,
)
from schemas.topics import CHUNKED, SUBMITTED
from schemas.wire import decode
from streams.outbox import Outbox, failed_event
from streams.parser import Parser
from streams.record import Record
from streams.stage import Stage

BATCH_CHUNKS_MAX = 64
BATCH_BYTES_MAX = 262_144
"""A batch is one Kafka event: big enough to spare per-event work, small enough for many to be in flight."""
TITLE_CHARS_MAX = 500
"""What an event may carry; a first heading that is longer is a paragraph in disguise."""


class ForeignContent(MillraceError):
    """The event points at content outside its tenant's part of the object store."""

    type = "foreign-content"


class OtherContent(MillraceError):
    """The content is not what was submitted."""

    type = "other-content"


class ParseStage(Stage):
    """``documents.submitted`` → ``documents.chunked``."""

    name = "parse"
    topic = SUBMITTED

    def __init__(self, outbox: Outbox, attempts_max: int, parser: Parser, blobs: Blobs) -> None:
        super().__init__(outbox, attempts_max)
        self._parser = parser
        self._blobs = blobs

    async def handle(self, records: Sequence[Record]) -> None:
        """Parse one submission, or pass a deletion on."""
        [record] = records
        event = _read(record)
        if (partition := partition_of(event.key())) != record.partition:
            # Clients differ in their partitioners (librdkafka's default is not Java's); order needs one place per key.
            await self.outbox.resend(record, partition)
        elif isinstance(event, DocumentSubmitted):
            await self._parse(record, event)
        else:
            forgotten = DocumentForgotten(
                tenant_id=event.tenant_id, document_id=event.document_id, origin=record.origin
            )
            await self.outbox.emit(CHUNKED, record, [(forgotten, None)])

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Send the failure down the line, so that it takes the place of the chunks."""
        if partition_of(record.key or b"") != record.partition:
            return  # order holds only where the key belongs, and so does what is said of its document
        if failed := failed_event(record, failure, record.origin):
            await self.outbox.emit(CHUNKED, record, [(failed, None)])

    async def _parse(self, record: Record, event: DocumentSubmitted) -> None:
        await self.outbox.report(record, _status(record, event, State.PARSING))
        async with self._content(record, event) as (blob_key, path):
            parsed = await self._parser.parse(path, event.media_type)
            size_bytes = path.stat().st_size
        text_key = f"{event.tenant_id}/texts/{event.document_id}/{record.position}"
        await self._blobs.put(text_key, parsed.text.encode())
        attributes = DocumentAttributes.model_validate(event.model_dump(include=set(DocumentAttributes.model_fields)))
        document = ExtractedDocument(
            **attributes.model_dump(exclude={"title"}),
            title=event.title or (parsed.title and parsed.title[:TITLE_CHARS_MAX]),
            blob_key=blob_key,
            text_key=text_key,
            size_bytes=size_bytes,
            text_chars=len(parsed.text),
            page_count=parsed.page_count,
        )
        # Before the chunks, so that no later stage speaks first and this is not the last word on a finished document.
        await self.outbox.report(
            record, _status(record, event, State.EMBEDDING, title=document.title, chunks_total=len(parsed.chunks))
        )
        await self.outbox.emit(
            CHUNKED,
            record,
            (
                (
                    DocumentChunked(
                        tenant_id=event.tenant_id,
                        document_id=event.document_id,
                        origin=record.origin,
                        document=document,
                        chunks=batch,
                        chunk_total=len(parsed.chunks),
                    ),
                    None,
                )
                for batch in batches(parsed.chunks)
            ),
        )

    @asynccontextmanager
    async def _content(self, record: Record, event: DocumentSubmitted) -> AsyncIterator[tuple[str, Path]]:
        match event.content:
            case BlobContent(key=key) as content:
                if not key.startswith(f"{event.tenant_id}/"):
                    raise ForeignContent(key)
                async with self._blobs.as_file(key) as path:
                    await asyncio.to_thread(_compare, path, content)
            case text:
                key = f"{event.tenant_id}/originals/{event.document_id}/{record.position}"
                await self._blobs.put(key, text.text.encode())
        async with self._blobs.as_file(key) as path:
            yield key, path


def _compare(path: Path, content: BlobContent) -> None:
    """Hold a file against what its submission says of it. Raises `OtherContent`."""
    if (size_bytes := path.stat().st_size) != content.size_bytes:
        raise OtherContent(f"{size_bytes} bytes, where {content.size_bytes} were submitted.")
    if content.sha256 is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != content.sha256:
                raise OtherContent("Its SHA-256 is another one.")


def partition_of(key: bytes) -> int:
    """Where Java's and aiokafka's default partitioner put a key of the pipeline."""
    return int(murmur2(key) & 0x7FFFFFFF) % SUBMITTED.partitions


def batches(chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, ...]]:
    """Cut chunks into events of bounded count and bytes."""
    batch: list[Chunk] = []
    size = 0
    for piece in chunks:
        piece_bytes = len(piece.text.encode())
        if batch and (len(batch) == BATCH_CHUNKS_MAX or size + piece_bytes > BATCH_BYTES_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(piece)
        size += piece_bytes
    if batch:
        yield tuple(batch)


def _read(record: Record) -> DocumentSubmitted | DocumentDeleted:
    kinds: tuple[type[DocumentSubmitted | DocumentDeleted], ...] = (DocumentSubmitted, DocumentDeleted)
    event, _ = decode(kinds, record.key, record.value, record.headers)
    return event


def _status(
    record: Record, event: DocumentSubmitted, state: State, *, title: str | None = None, chunks_total: int | None = None
) -> DocumentStatus:
    return DocumentStatus(
        tenant_id=event.tenant_id,
        document_id=event.document_id,
        origin=record.origin,
        state=state,
        filename=event.filename,
        title=title or event.title,
        media_type=event.media_type,
        chunks_total=chunks_total,
    )
