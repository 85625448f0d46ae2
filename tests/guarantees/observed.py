"""What anybody can see of a tenant: topics, tables and blobs."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from db.pool import Pool
from schemas.broker import BrokerSettings
from schemas.topics import CHAT_EVENTS, DEAD_LETTER, GROUP_OF_STAGE, STATUS, Topic
from tests.conditions import eventually

DEADLINE_S = 90
TABLES = {
    # Not `applied`: an event that comes late is noted, though it changes nothing.
    "documents": "document_id, revision, deleted, settled, cancelled, chunk_count, blob_key, text_key, indexed_at",
    "document_chunks": "document_id, revision, ordinal, text, embedding::text, xmin::text",
    "document_processing": "document_id, revision, state, chunks_total, chunks_done, attempt, text_key",
    "blob_uses": "document_id, revision, blob_key, derived, ended",
    "dead_letters": "letter_id, state, document_id, revision, published",
    "conversation_messages": "conversation_id, message_id, role, text, citations::text",
}


class Observer:
    """Kafka's topics and what is behind them, as far as a test's tenant is concerned."""

    def __init__(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, pool: Pool, tenant: str) -> None:
        self._consumer = consumer
        self._admin = admin
        self._pool = pool
        self.tenant = tenant
        self._seen: dict[str, list[ConsumerRecord]] = {STATUS.name: [], DEAD_LETTER.name: [], CHAT_EVENTS.name: []}

    async def records(self, topic: Topic) -> Sequence[ConsumerRecord]:
        """The tenant's records of a topic since the beginning of the test, up to now."""
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        while [at for at, end in ends.items() if await self._consumer.position(at) < end]:
            for at, records in (await self._consumer.getmany(timeout_ms=1_000)).items():
                mine = [record for record in records if (record.key or b"").startswith(f"{self.tenant}/".encode())]
                self._seen[at.topic].extend(mine)
        return self._seen[topic.name]

    async def idle(self) -> None:
        """Wait until every stage has acknowledged everything."""
        for stage in GROUP_OF_STAGE:  # in the order of the flow: behind one that is done nothing more comes
            await eventually(partial(self._is_idle, stage), deadline_s=DEADLINE_S)

    async def _is_idle(self, stage: str) -> bool:
        group, topic = GROUP_OF_STAGE[stage]
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        ends = await self._consumer.end_offsets(partitions)
        committed = await self._admin.list_consumer_group_offsets(group, partitions=partitions)
        return all(committed[at].offset == end or (end == 0) for at, end in ends.items())

    async def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the tenant, down to the transactions that wrote its chunks."""
        return {table: await self.rows(f"{columns} FROM {table}", "1, 2, 3") for table, columns in TABLES.items()}

    async def rows(self, query: str, order: str = "1") -> list[tuple[Any, ...]]:
        """Rows of the tenant: ``query`` is what stands between SELECT and WHERE."""
        rows = await self._pool.fetch(f"SELECT {query} WHERE tenant_id = $1 ORDER BY {order}", self.tenant)
        return [tuple(row) for row in rows]

    def blobs(self) -> set[str]:
        """The keys in the tenant's part of the object store."""
        folder = Path(os.environ["MILLRACE_BLOBS_URL"])
        return {str(path.relative_to(folder)) for path in (folder / self.tenant).rglob("*") if path.is_file()}

    async def is_tidy(self) -> bool:
        """Whether the object store holds the blobs that are needed, and no others."""
        uses = await self.rows("DISTINCT blob_key, ended FROM blob_uses")
        return not [key for key, ended in uses if ended] and self.blobs() == {key for key, _ in uses}

    async def assert_sound(self) -> None:
        """Nothing is lost, doubled or left behind."""
        await eventually(self.is_tidy, deadline_s=40)  # what was cut short is found again by the janitor
        documents = await self.rows("document_id, revision, deleted, chunk_count, blob_key, text_key FROM documents")
        visible = {row[0]: row for row in documents if not row[2]}
        chunks = await self.rows("document_id, revision, ordinal FROM document_chunks", "1, 2, 3")
        assert chunks == [(row[0], row[1], ordinal) for row in sorted(visible.values()) for ordinal in range(row[3])]
        derived = await self.rows("DISTINCT blob_key FROM blob_uses", "1")
        texts = {key for (key,) in derived if "/texts/" in key}
        assert texts == {row[5] for row in visible.values()}, "texts that no document has"
        assert {row[4] for row in visible.values()} <= self.blobs()
        unfinished = await self.rows(
            "document_id, revision, state FROM document_processing p",
        )
        ends = {"indexed", "failed", "cancelled", "deleted"}
        assert not [row for row in unfinished if row[2] not in ends]
        letters = await self.rows("letter_id, document_id, revision, published FROM dead_letters")
        assert all(published for *_, published in letters)
        failed = {(document_id, revision) for document_id, revision, state in unfinished if state == "failed"}
        assert {(letter[1], letter[2]) for letter in letters} >= failed
        lettered = {(letter[1], letter[2]) for letter in letters}
        assert not lettered & {(document_id, row[1]) for document_id, row in visible.items()}, "both indexed and dead"


@asynccontextmanager
async def observing(pool: Pool, tenant: str) -> AsyncIterator[Observer]:
    """Observe from now on."""
    client = BrokerSettings().client()
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, max_partition_fetch_bytes=8_388_608)
    admin = AIOKafkaAdminClient(**client)
    await consumer.start()
    await admin.start()
    try:
        places = [
            TopicPartition(topic.name, number)
            for topic in (STATUS, DEAD_LETTER, CHAT_EVENTS)
            for number in range(topic.partitions)
        ]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        await asyncio.gather(*(consumer.position(place) for place in places))
        yield Observer(consumer, admin, pool, tenant)
    finally:
        await admin.close()
        await consumer.stop()
