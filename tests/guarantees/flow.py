"""The real stages, tables and blobs, with a log in memory: what comes next, again or late is up to the test.

Kafka delivers in the order in which it was written, and again from the committed offset on after a crash; a worker that
fell asleep handles what it had, late. Which of that happens when cannot be asked of a broker, but of this log.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import blob_uses, processing
from db.blobs import Blobs, BlobSettings
from db.pool import Pool
from engine.chunk import ChunkSettings
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from engine.parse import ParseLimits
from schemas.events import (
    DocumentCancelled,
    DocumentDeleted,
    DocumentResubmitted,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    Failure,
    State,
    TextContent,
)
from schemas.producer import Outgoing
from schemas.topics import CHUNKED, EMBEDDED, SUBMITTED, Topic
from schemas.wire import encode
from streams.embed import EmbedStage
from streams.index import IndexStage
from streams.outbox import Outbox
from streams.parse import ParseStage, partition_of
from streams.parser import File, Parsed, parse_and_chunk_all
from streams.record import Record
from streams.stage import Stage

NAME = "d"
STAGES = ("parse", "embed", "index")
FAILURE = Failure(type="given-up", message="It was tried often enough.", stage="test")
EMBEDDER = create_embedder(EmbedderSettings())


class Log:
    """What a producer needs to know of Kafka; every topic has one partition, that of the test's document."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = defaultdict(list)

    async def send(self, topic: Topic, records: Iterable[Outgoing], partition: int | None = None) -> None:
        """Append records, and acknowledge them."""
        await self.send_each(topic, ((partition, record) for record in records))

    async def send_each(self, topic: Topic, records: Iterable[tuple[int | None, Outgoing]]) -> None:
        """The same, each to a partition of its own."""
        for partition, (key, value, headers) in records:
            offset = len(self.records[topic.name])
            self.records[topic.name].append(
                Record(topic.name, partition or 0, offset, 0, key, value, tuple(headers), 1_700_000_000_000)  # type: ignore[arg-type]
            )


class Here:
    """Parses in this process, which spares the time that processes take to start."""

    processes = 1

    async def parse(self, files: Sequence[File]) -> list[Parsed | Exception]:
        """What runs in a parser's process otherwise."""
        return parse_and_chunk_all(files, ParseLimits(), ChunkSettings())


@dataclass(frozen=True, slots=True)
class Document:
    """What readers see; ``text`` is that of its chunks."""

    revision: int
    deleted: bool
    text: str


class Flow:
    """One document of a tenant of its own on its way through the stages."""

    def __init__(self, pool: Pool) -> None:
        self.tenant = f"t-{uuid.uuid4().hex[:12]}"
        self.log = Log()
        self._pool = pool
        self._blobs = Blobs(BlobSettings())
        outbox = Outbox(self.log, pool, self._blobs)  # type: ignore[arg-type]
        self.stages: Mapping[str, Stage] = {
            "parse": ParseStage(outbox, 1, Here(), pool, self._blobs),  # type: ignore[arg-type]
            "embed": EmbedStage(outbox, 1, EMBEDDER, pool),
            "index": IndexStage(outbox, 1, pool, self._blobs),
        }
        self.passed = dict.fromkeys(STAGES, 0)
        """How many records each stage has acknowledged."""

    def records(self, stage: str) -> Sequence[Record]:
        """What a stage reads."""
        topic: Topic = {"parse": SUBMITTED, "embed": CHUNKED, "index": EMBEDDED}[stage]
        return self.log.records[topic.name]

    async def submit(self, text: str, media_type: str = "text/plain") -> int:
        """Write a submission; its revision."""
        return await self._write(
            DocumentSubmitted(
                tenant_id=self.tenant, document_id=NAME, media_type=media_type, content=TextContent(text=text)
            )
        )

    async def delete(self) -> int:
        """Write a deletion."""
        return await self._write(DocumentDeleted(tenant_id=self.tenant, document_id=NAME))

    async def cancel(self) -> int:
        """Write a cancellation."""
        return await self._write(DocumentCancelled(tenant_id=self.tenant, document_id=NAME))

    async def resubmit(self) -> int:
        """Write that the newest content is to be tried once more."""
        return await self._write(DocumentResubmitted(tenant_id=self.tenant, document_id=NAME))

    async def _write(self, event: Event) -> int:
        await self.log.send(SUBMITTED, [encode(event)], partition_of(event.key()))
        return self.records("parse")[-1].position

    async def receive(self, revision: int, state: State = State.RECEIVED) -> None:
        """What the gateway does after it has written: report that."""
        record = self.records("parse")[revision - 1]
        status = DocumentStatus(tenant_id=self.tenant, document_id=NAME, origin=record.origin, state=state)
        await processing.report(self._pool, [status])

    async def foresee(self, revision: int) -> None:
        """Let the parse stage look at a record that waits."""
        await self.stages["parse"].foresee(self.records("parse")[revision - 1])

    async def step(self, stage: str, count: int = 1) -> None:
        """Let a stage handle the next records together, if there are any, and acknowledge them."""
        batch = self.records(stage)[self.passed[stage] :][:count]
        if batch:
            await self._run(stage, batch)
            self.passed[stage] += len(batch)

    async def give_up(self, stage: str) -> None:
        """Let a stage give the next record up: it has been tried often enough."""
        if batch := self.records(stage)[self.passed[stage] :][:1]:
            await self.stages[stage].give_up(batch[0], FAILURE)
            self.passed[stage] += 1

    async def again(self, stage: str, number: int) -> None:
        """Let a worker that fell asleep handle a record that others have acknowledged."""
        await self._run(stage, [self.records(stage)[number]])

    async def drain(self) -> None:
        """Let all stages handle what there is, and clear away what nobody needs."""
        for stage in STAGES:
            while self.passed[stage] < len(self.records(stage)):
                await self.step(stage)
        await blob_uses.sweep(self._pool, self._blobs)

    async def _run(self, stage: str, batch: Sequence[Record]) -> None:
        for record in await self.stages[stage].run(batch):  # each by itself then
            assert not await self.stages[stage].run([record])

    async def document(self) -> Document:
        """What readers see."""
        row = await self._pool.fetchrow(
            "SELECT revision, deleted FROM documents WHERE tenant_id = $1 AND document_id = $2", self.tenant, NAME
        )
        chunks = await self._pool.fetch(
            "SELECT text, start_char FROM visible_chunks WHERE tenant_id = $1 ORDER BY ordinal", self.tenant
        )
        text = ""
        for chunk in chunks:  # they overlap, and what stands between two of them is a space
            text = f"{text[: chunk['start_char']]:{chunk['start_char']}}{chunk['text']}"
        return Document(row["revision"], row["deleted"], text) if row else Document(0, True, text)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the tenant: ``query`` is what stands between SELECT and WHERE."""
        return [tuple(row) for row in await self._pool.fetch(f"SELECT {query} WHERE tenant_id = $1", self.tenant)]

    def blobs(self) -> set[str]:
        """The keys in the tenant's part of the object store."""
        folder = Path(BlobSettings().url)
        return {str(path.relative_to(folder)) for path in (folder / self.tenant).rglob("*") if path.is_file()}
