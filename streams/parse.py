"""Parse and chunk: from a submission to batches of chunks, or to the reason why there are none."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import asyncpg
import orjson
from aiokafka.partitioner import murmur2

from db import documents, processing
from db.blobs import Blobs
from db.errors import BlobMissing
from db.pool import Pool
from schemas.errors import InvalidEvent, MillraceError
from schemas.events import (
    Chunk,
    DocumentAttributes,
    DocumentCancelled,
    DocumentChunked,
    DocumentDeleted,
    DocumentDropped,
    DocumentForgotten,
    DocumentResubmitted,
    DocumentStatus,
    DocumentSubmitted,
    ExtractedDocument,
    Failure,
    Origin,
    State,
)
from schemas.topics import CHUNKED, SUBMITTED
from schemas.wire import decode
from streams.content import Contents, content_of, new_text_key
from streams.fair import FairGate
from streams.outbox import Outbox, failed_event, failure_of
from streams.parser import File, Parsed, Parser
from streams.precedent import Cancelled, Precedent, Superseded, Unsettled, ended
from streams.record import Record
from streams.stage import SomeFailed, Stage, is_outage
from streams.together import Together

BATCH_CHUNKS_MAX = 64
BATCH_BYTES_MAX = 262_144
"""A batch is one Kafka event: big enough to spare per-event work, small enough for many to be in flight."""
HEAVY_BYTES_MIN = 1_000_000
"""Most documents are smaller, and parsed within a second."""
TOLD_AFTER_S = 0.1
"""That documents are being parsed is told once that takes each so long; for most there is sooner something newer."""

Written = DocumentSubmitted | DocumentDeleted | DocumentCancelled | DocumentResubmitted
WRITTEN: tuple[type[Written], ...] = (DocumentSubmitted, DocumentDeleted, DocumentCancelled, DocumentResubmitted)


class ForeignContent(MillraceError):
    """The event points at content outside its tenant's part of the object store."""

    type = "foreign-content"


class NothingToResubmit(MillraceError):
    """The document has no content that could be submitted again."""

    type = "nothing-to-resubmit"


@dataclass(frozen=True, slots=True)
class Batch:
    """What records that are handled together share: ``parse`` has their files parsed at one go."""

    parse: Together[File, Parsed | Exception]
    told_after_s: float
    alone: bool


class ParseStage(Stage):
    """``documents.submitted`` → ``documents.chunked``."""

    name = "parse"
    topic = SUBMITTED
    concurrency = 12
    """More than there are parsers: some fetch what they are to parse, or wait for another generation."""
    batch_records_max = 16
    batch_bytes_max = 32_768
    """Of small documents: what is done for each of them is done for all at one go, and takes a blink in all."""

    def __init__(self, outbox: Outbox, attempts_max: int, parser: Parser, pool: Pool, blobs: Blobs) -> None:
        super().__init__(outbox, attempts_max)
        self._parser = parser
        self._gate = FairGate(parser.processes)
        self._pool = pool
        self._contents = Contents(pool, blobs)
        self._precedent = Precedent(pool, outbox.standing)
        self._parsing: dict[bytes | None, tuple[int, asyncio.Future[Parsed | Exception]]] = {}
        self._begin = Together[processing.Submission, processing.Run](
            lambda submissions: processing.begin_runs(pool, submissions)
        )
        self._report = Together(outbox.report)
        self._foreseen: set[tuple[int, int]] = set()
        """Partition and position of what was foreseen here; what comes from another worker is foreseen again."""

    def weight(self, record: Record) -> int:
        """The size of the content; what is to be submitted again may be of any. What is misplaced goes alone, too."""
        if record.event_type == DocumentResubmitted.event_type:
            return HEAVY_BYTES_MIN
        if partition_of(record.key or b"") != record.partition:
            return self.batch_bytes_max
        # Every submission is weighed as it comes, so it is not read for that as it is when its turn comes.
        with suppress(orjson.JSONDecodeError, TypeError, KeyError, ValueError):
            return max(0, int(orjson.loads(record.value or b"")["content"]["size_bytes"]))
        return super().weight(record)

    def is_heavy(self, weight: int) -> bool:
        """Most documents are lighter."""
        return weight >= HEAVY_BYTES_MIN

    async def foresee(self, record: Record) -> None:
        """Stop what a cancellation or a deletion ends, before it comes to it in its lane."""
        if record.event_type not in {DocumentCancelled.event_type, DocumentDeleted.event_type}:
            return
        try:
            event = _read(record)
        except InvalidEvent:
            return
        if not isinstance(event, DocumentCancelled | DocumentDeleted) or partition_of(event.key()) != record.partition:
            return
        if (record.partition, record.position) in self._foreseen:
            return
        if await self._precedent.binds(event, record.position):
            return  # in a rebuild it comes too early, and would end what was done long before
        failure = failure_of(Cancelled(), self.name, 1)
        async with self._pool.acquire() as connection, connection.transaction():
            await documents.cancel(connection, event.tenant_id, event.document_id, record.position)
            ended = await processing.cancel_before(
                connection, event.tenant_id, event.document_id, record.position, failure
            )
        revision, parsing = self._parsing.get(record.key, (record.position, None))
        if parsing and revision < record.position:
            parsing.cancel()
        await self.outbox.tell([(record, _cancelled(record, event, row)) for row in ended])
        self._foreseen.add((record.partition, record.position))

    async def handle(self, records: Sequence[Record]) -> None:
        """Parse submissions, or pass on what else was asked for; of different documents side by side."""
        batch = Batch(
            parse=Together(partial(self._parse_in_turn, records[0].ids[0]), abandons=True),
            told_after_s=len(records) * TOLD_AFTER_S,
            alone=len(records) == 1,
        )
        lanes: dict[tuple[int, bytes], list[Record]] = {}
        for record in records:
            lanes.setdefault((record.partition, self.lane_of(record)), []).append(record)
        errors: dict[Record, Exception | None] = {}
        # Unlike `gather`, a group has ended when it is over, also where it is cancelled.
        async with asyncio.TaskGroup() as group:
            for lane in lanes.values():
                group.create_task(self._handle_lane(lane, batch, errors))
        if batch.alone and (error := errors.get(records[0])):
            raise error
        if errors:
            raise SomeFailed(errors)

    async def _handle_lane(
        self, records: Sequence[Record], batch: Batch, errors: dict[Record, Exception | None]
    ) -> None:
        """Handle records in order up to the first that fails; note that with its error, and those behind it."""
        for number, record in enumerate(records):
            try:
                await self._handle(record, batch)
            except Exception as error:
                own = batch.alone or not (is_outage(error) or isinstance(error, Unsettled))
                errors.update(dict.fromkeys(records[number:]) | {record: error if own else None})
                return

    async def _handle(self, record: Record, batch: Batch) -> None:
        event = _read(record)
        if (partition := partition_of(event.key())) != record.partition:
            # Clients differ in their partitioners (librdkafka's default is not Java's); order needs one place per key.
            if not await self._precedent.passed(record):
                await self.outbox.resend(record, partition)
            return
        settled = await self._precedent.of(event, record.position, wait=batch.alone)
        ids = {"tenant_id": event.tenant_id, "document_id": event.document_id, "origin": record.origin}
        match event:
            case DocumentSubmitted():
                await self._parse(record, event, settled, batch)
            case DocumentResubmitted():
                try:
                    submission = await self._submission_of(record, event, settled)
                except (Superseded, NothingToResubmit) as error:
                    await self._drop(record, event, error)
                else:
                    await self._parse(record, submission, settled, batch)
            case DocumentDeleted():
                await self._report((record, _status(record, event, State.DELETING)))
                await self.outbox.emit(CHUNKED, record, [(DocumentForgotten.model_validate(ids), None)])
            case DocumentCancelled():
                await self.foresee(record)
                await self.outbox.emit(CHUNKED, record, [(DocumentDropped.model_validate(ids), None)])
        self._foreseen.discard((record.partition, record.position))

    async def give_up(self, record: Record, failure: Failure) -> None:
        """Send the failure down the line, so that it takes the place of the chunks.

        A submission's letter is written with its outcome; all else is kept here.
        """
        event = None
        with suppress(InvalidEvent):
            event = _read(record)
        is_in_place = partition_of(record.key or b"") == record.partition
        if isinstance(event, DocumentSubmitted) and is_in_place:
            await processing.keep_submission(self._pool, record.position, event)
        else:
            await self.outbox.keep(record, failure)
        if not is_in_place:
            return  # order holds only where the key belongs, and so does what is said of its document
        if failed := failed_event(record, failure, record.origin):
            await self.outbox.emit(CHUNKED, record, [(failed, None)])

    async def note_retry(self, record: Record, failure: Failure, attempt: int) -> None:
        """Let the document's status say how often it was tried."""
        await self.outbox.note_attempt(record, record.position, attempt)

    async def _submission_of(
        self, record: Record, event: DocumentResubmitted, settled: asyncpg.Record | None
    ) -> DocumentSubmitted:
        """What is to be submitted once more. Raises `Superseded` or `NothingToResubmit`."""
        if settled and settled["submission"]:
            return DocumentSubmitted.model_validate(settled["submission"])
        newest = await processing.newest_before(self._pool, event.tenant_id, event.document_id, record.position)
        if newest is None:
            raise NothingToResubmit
        revision = event.revision or newest["revision"]
        if newest["revision"] != revision or newest["visible_revision"] > revision:
            raise Superseded
        if newest["submission"] is None:
            raise NothingToResubmit
        return DocumentSubmitted.model_validate(newest["submission"])

    async def _drop(self, record: Record, event: Written, error: MillraceError) -> None:
        """Say that nothing comes of a revision."""
        dropped = DocumentDropped(
            tenant_id=event.tenant_id,
            document_id=event.document_id,
            origin=record.origin,
            error=failure_of(error, self.name, 1),
        )
        await self.outbox.emit(CHUNKED, record, [(dropped, None)])

    async def _parse(
        self, record: Record, event: DocumentSubmitted, settled: asyncpg.Record | None, batch: Batch
    ) -> None:
        end = ended(settled)
        content, inline = content_of(event, record.position)
        text_key = new_text_key(event.tenant_id, event.document_id, record.position)
        submission = processing.Submission(record.position, event.model_copy(update={"content": content}), text_key)
        run = await self._begin(submission)
        if not content.key.startswith(f"{event.tenant_id}/"):
            raise ForeignContent(content.key)
        if inline is not None and end is None and run.has_original:
            await self._contents.keep(event.tenant_id, content.key, inline)
        parsed = None
        if end is None and run.is_wanted:
            try:
                async with self._contents.file(content) as path:
                    status = _status(record, event, State.PARSING) if run.is_news else None
                    parsed = await self._parsed(record, File(path, event.media_type, content.size_bytes), status, batch)
            except BlobMissing:
                # The generation that this one follows may have gone on, and have had the content deleted.
                if (end := ended(await self._precedent.of(event, record.position))) is None:
                    raise
        is_kept = parsed and await self._contents.keep(event.tenant_id, text_key, parsed.text.encode())
        if run.number is None or parsed is None or not is_kept:
            await self._drop(record, event, end or Cancelled())
            return
        attributes = DocumentAttributes.model_validate(event.model_dump(include=set(DocumentAttributes.model_fields)))
        document = ExtractedDocument(
            **attributes.model_dump(exclude={"title"}),
            title=event.title or parsed.title,
            blob_key=content.key,
            text_key=text_key,
            size_bytes=content.size_bytes,
            text_chars=len(parsed.text),
            page_count=parsed.page_count,
        )
        status = _status(record, event, State.EMBEDDING, title=document.title, chunks_total=len(parsed.chunks))
        # Before the chunks, so that no later stage speaks first and this is not the last word on a finished document.
        await self._report((record, status))
        await self.outbox.emit(
            CHUNKED,
            record,
            (
                (
                    DocumentChunked(
                        tenant_id=event.tenant_id,
                        document_id=event.document_id,
                        origin=record.origin,
                        run=run.number,
                        document=document,
                        chunks=cut,
                        chunk_total=len(parsed.chunks),
                    ),
                    None,
                )
                for cut in batches(parsed.chunks)
            ),
        )

    async def _parsed(self, record: Record, file: File, status: DocumentStatus | None, batch: Batch) -> Parsed | None:
        """The parsed file; None if what was foreseen has stopped it. ``status`` is told of one that takes long."""
        parsing = asyncio.create_task(batch.parse(file))
        self._parsing[record.key] = record.position, parsing
        try:
            _, unfinished = await asyncio.wait([parsing], timeout=batch.told_after_s)
            if unfinished and status:
                await self.outbox.tell([(record, status)])
            await asyncio.wait([parsing])
        finally:
            del self._parsing[record.key]
            parsing.cancel()
        if parsing.cancelled():
            return None
        parsed = parsing.result()
        if isinstance(parsed, Exception):
            raise parsed
        return parsed

    async def _parse_in_turn(self, tenant_id: str, files: Sequence[File]) -> list[Parsed | Exception]:
        """Parse the files of a batch, whose turn it was for the sake of this tenant."""
        heavy = any(file.size_bytes >= HEAVY_BYTES_MIN for file in files)
        async with self._gate.slot(tenant_id, heavy=heavy):
            return await self._parser.parse(files)


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


def _read(record: Record) -> Written:
    event, _ = decode(WRITTEN, record.key, record.value, record.headers)
    return event


def _cancelled(record: Record, event: Written, row: asyncpg.Record) -> DocumentStatus:
    values = dict(row)
    return DocumentStatus(
        tenant_id=event.tenant_id,
        document_id=event.document_id,
        origin=Origin(partition=record.partition, position=values.pop("revision")),
        state=State.CANCELLED,
        **values,
    )


def _status(
    record: Record,
    event: Written,
    state: State,
    *,
    title: str | None = None,
    chunks_total: int | None = None,
) -> DocumentStatus:
    known = event.model_dump(include={"filename", "title", "media_type"})
    return DocumentStatus.model_validate(
        {
            **known,
            "tenant_id": event.tenant_id,
            "document_id": event.document_id,
            "origin": record.origin,
            "state": state,
            "title": title or known.get("title"),
            "chunks_total": chunks_total,
        }
    )
