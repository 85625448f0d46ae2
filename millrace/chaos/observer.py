"""The observer: what lies in the tables, the object store and the topics once everything has settled.

Here alone is the product's inside looked at, and only counted: rows by revision, blobs by key. What is wrong with the
counts is for the checker to say.
"""

import json
from collections.abc import AsyncIterator, Collection
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import obstore
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from obstore.store import LocalStore, ObjectStore, from_url

from millrace.chaos.history import History, Json
from schemas.position import position_of
from schemas.topics import DEAD_LETTER, STATUS, SUBMITTED, Topic
from schemas.wire import ids_of

FETCH_TIMEOUT_MS = 2_000

GENERATIONS = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'documents' ORDER BY 1"
"""The schemas that have the derived tables."""
ROWS = """
SELECT tenant_id AS tenant, document_id, revision, count(*) AS rows, count(DISTINCT ordinal) AS ordinals
FROM {schema}.document_chunks WHERE tenant_id = ANY($1) GROUP BY 1, 2, 3
"""
DOCUMENTS = """
SELECT tenant_id AS tenant, document_id, revision, deleted, blob_key, text_key
FROM {schema}.documents WHERE tenant_id = ANY($1)
"""


class Observer:
    """Looks at what ``tenants`` have; what is in the topics it tells once."""

    def __init__(self, kafka: str, history: History, tenants: Collection[str]) -> None:
        self._kafka = kafka
        self._history = history
        self._tenants = sorted(tenants)
        self._read_to: dict[TopicPartition, int] = {}
        self._epoch = 0

    async def observe(self, database_url: str, blobs_url: str) -> None:
        """Record an observation."""
        with self._history.operation("observer", "observe", "*") as operation:
            rows, documents = await self._tables(database_url)
            operation.ok(
                rows=rows,
                documents=documents,
                blobs=self._blobs(blobs_url),
                **await self._topics(),
            )

    async def _tables(self, database_url: str) -> tuple[list[Json], list[Json]]:
        rows: list[Json] = []
        documents: list[Json] = []
        connection = await asyncpg.connect(database_url)
        try:
            for [schema] in await connection.fetch(GENERATIONS):
                for query, found in ((ROWS, rows), (DOCUMENTS, documents)):
                    found += [
                        {"generation": schema, **row}
                        for row in await connection.fetch(query.format(schema=schema), self._tenants)
                    ]
            self._epoch = int(await connection.fetchval("SELECT coalesce(max(epoch), 0) FROM stream_epochs"))
        finally:
            await connection.close()
        return rows, documents

    def _blobs(self, blobs_url: str) -> list[str]:
        local = urlsplit(blobs_url).scheme in {"", "file"}
        store: ObjectStore = LocalStore(blobs_url.removeprefix("file://")) if local else from_url(blobs_url)
        return [
            str(found["path"])
            for tenant in self._tenants
            for page in obstore.list(store, prefix=f"{tenant}/")
            for found in page
        ]

    async def _topics(self) -> dict[str, list[Json]]:
        told: dict[str, list[Json]] = {"letters": [], "submissions": [], "statuses": []}
        async for record in self._new_records((DEAD_LETTER, SUBMITTED, STATUS)):
            tenant, document_id = ids_of(record.key)
            if tenant not in self._tenants:
                continue
            about = {"tenant": tenant, "document_id": document_id}
            if record.topic == DEAD_LETTER.name:
                if letter := self._letter(record):
                    told["letters"].append(about | letter)
            elif record.topic == STATUS.name:
                body = _body(record)
                told["statuses"].append(about | {"revision": body["origin"]["position"], "state": body["state"]})
            elif content := _body(record).get("content"):
                revision = position_of(self._epoch, record.offset)
                told["submissions"].append(about | {"revision": revision, "blob": content.get("key")})
        return told

    def _letter(self, record: ConsumerRecord) -> Json | None:
        """What a dead letter is about; None where that is no document."""
        headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        if headers["error_topic"] == SUBMITTED.name:
            revision = position_of(self._epoch, int(headers["error_offset"]))
        else:
            body = _body(record)
            if "origin" not in body:
                return None
            revision = body["origin"]["position"]
        place = "/".join(headers[f"error_{name}"] for name in ("topic", "partition", "offset"))
        return {
            "revision": revision,
            "identity": headers.get("error_letter", place),
            "error": headers["error_type"],
        }

    async def _new_records(self, topics: Collection[Topic]) -> AsyncIterator[ConsumerRecord]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
            consumer.assign(partitions)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            for partition in partitions:
                consumer.seek(partition, self._read_to.get(partition, 0))
            behind = {partition for partition in partitions if ends[partition] > self._read_to.get(partition, 0)}
            while behind:
                for records in (await consumer.getmany(*behind, timeout_ms=FETCH_TIMEOUT_MS)).values():
                    for record in records:
                        yield record
                for partition in list(behind):
                    # The position, not the last record: a compacted topic has gaps, also at its end.
                    self._read_to[partition] = await consumer.position(partition)
                    if self._read_to[partition] >= ends[partition]:
                        behind.discard(partition)
        finally:
            await consumer.stop()


def _body(record: ConsumerRecord) -> dict[str, Any]:
    """The JSON of a record, which vectors may follow; empty where it is none."""
    try:
        body, _ = json.JSONDecoder().raw_decode((record.value or b"").decode(errors="replace"))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
