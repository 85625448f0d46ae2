"""The index stage: duplicates, stragglers and poison change nothing that readers see."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from aiokafka import ConsumerRecord

from db import processing
from db.pool import Pool
from millrace.client import Gateway
from schemas.events import (
    BlobContent,
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    Failure,
    Origin,
    State,
)
from schemas.position import offset_of
from schemas.topics import DEAD_LETTER, EMBEDDED, STATUS
from schemas.wire import decode, encode
from streams.parse import partition_of
from tests.conditions import eventually
from tests.db.rows import batch, status, vector
from tests.streams.topic import header, reading, writing

TABLES = {
    "documents": "document_id, revision, deleted, chunk_count, blob_key, text_key, settled, indexed_at",
    "document_chunks": "document_id, revision, ordinal, text, embedding::text, xmin::text",
    "document_processing": "document_id, revision, state, chunks_total, chunks_done, updated_at",
}


async def tables(pool: Pool, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that readers see of a tenant, down to the transactions that wrote it."""
    return {
        table: [
            tuple(row)
            for row in await pool.fetch(f"SELECT {columns} FROM {table} WHERE tenant_id = $1 ORDER BY 1, 2, 3", tenant)
        ]
        for table, columns in TABLES.items()
    }


async def indexed_up_to(pool: Pool, tenant: str, offset: int) -> None:
    """Wait until the index stage's transaction passed a record."""

    async def passed() -> bool:
        applied = await pool.fetchval("SELECT max(applied) FROM documents WHERE tenant_id = $1", tenant)
        return applied is not None and offset_of(applied) >= offset

    await eventually(passed)


async def produce(pool: Pool, tenant: str, records: Sequence[ConsumerRecord | tuple[bytes, bytes, Any]]) -> None:
    """Write records to the index stage's topic and wait until it passed them."""
    async with writing() as kafka:
        for record in records:
            key, value, headers = record if isinstance(record, tuple) else (record.key, record.value, record.headers)
            place = await kafka.send_and_wait(
                EMBEDDED.name, value, key=key, headers=list(headers), partition=partition_of(key)
            )
    await indexed_up_to(pool, tenant, place.offset)


async def add(client: Gateway, text: str, document_id: str = "d") -> int:
    accepted = await client.add_text(text, document_id=document_id)
    assert [status async for status in client.follow(document_id)][-1]["state"] == "indexed"
    return int(accepted["revision"])


LONG = " ".join(f"Sentence number {index} of a long text stands here." for index in range(2_500))
"""More than one batch of chunks."""


async def test_what_comes_again_or_late_changes_nothing(pool: Pool, client: Gateway, tenant: str) -> None:
    async with reading(EMBEDDED) as embedded:
        await add(client, LONG)
        first = await embedded.until(lambda found: found and _last(found[-1]), lambda each: _of(each, tenant))
        assert len(first) > 1
        before = await tables(pool, tenant)
        assert len(before["document_chunks"]) > 64
        await produce(pool, tenant, first)
        assert await tables(pool, tenant) == before

        await add(client, LONG + " And more.")
        second = await embedded.until(
            lambda found: len(found) > len(first) and _last(found[-1]), lambda each: _of(each, tenant)
        )
        after = await tables(pool, tenant)
        assert {row[1] for row in after["document_chunks"]} != {row[1] for row in before["document_chunks"]}
        await produce(pool, tenant, [*first, *second[::-1], first[-1]])
        assert await tables(pool, tenant) == after

        await client.delete("d")
        await eventually(lambda: _gone(pool, tenant))
        buried = await tables(pool, tenant)
        await produce(pool, tenant, [*first, *second])
        assert await tables(pool, tenant) == buried
        assert buried["document_chunks"] == []


async def _gone(pool: Pool, tenant: str) -> bool:
    return bool(await pool.fetchval("SELECT deleted FROM documents WHERE tenant_id = $1", tenant))


def _of(record: ConsumerRecord, tenant: str) -> bool:
    return bool(record.key.startswith(f"{tenant}/".encode()))


def _last(record: ConsumerRecord) -> bool:
    event, _ = decode(EMBEDDED.events, record.key, record.value, record.headers)
    return isinstance(event, DocumentEmbedded) and event.last


def event_of(kind: type[Event], tenant: str, revision: int, **values: Any) -> tuple[bytes, bytes, Any]:
    origin = Origin(partition=partition_of(f"{tenant}/d".encode()), position=revision)
    return encode(kind.model_validate({"tenant_id": tenant, "document_id": "d", "origin": origin, **values}))


async def test_what_was_indexed_cannot_fail_any_more(pool: Pool, client: Gateway, tenant: str) -> None:
    revision = await add(client, "A mill.")
    before = await tables(pool, tenant)
    failure = Failure(type="parser-crashed", message="It died.", stage="parse")
    for late in (revision, revision - 1):
        await produce(pool, tenant, [event_of(DocumentFailed, tenant, late, error=failure)])
    await produce(pool, tenant, [event_of(DocumentForgotten, tenant, revision - 1)])
    assert await tables(pool, tenant) == before
    assert (await client.status("d"))["state"] == "indexed"


async def _has_failed(pool: Pool, tenant: str) -> bool:
    return [row[2] for row in (await tables(pool, tenant))["document_processing"]] == ["failed"]


async def submit_by_hand(pool: Pool, tenant: str, revision: int) -> None:
    """What the parse stage leaves of a submission."""
    await processing.report(pool, [status(tenant, "d", revision, State.PARSING)])
    content = BlobContent(key=f"{tenant}/originals/d-{revision}", size_bytes=7)
    submission = DocumentSubmitted(tenant_id=tenant, document_id="d", media_type="text/plain", content=content)
    await processing.keep_submission(pool, revision, submission)


def by_hand(tenant: str, revision: int, **changes: Any) -> tuple[bytes, bytes, Any]:
    made = batch(tenant, "d", revision, ["A mill."])
    event = made.model_copy(
        update={
            "origin": Origin(partition=partition_of(made.key()), position=revision),
            "chunks": (made.chunks[0].model_copy(update=changes),),
        }
    )
    return encode(event, binary=np.stack([vector(1)]).tobytes())


@pytest.mark.parametrize(
    ("changes", "error_type"),
    [
        ({"page": 2**40}, "internal"),
        ({"token_count": 2**50}, "internal"),
        ({"heading_path": (" ".join(map(str, range(300_000))),)}, "internal"),
    ],
)
async def test_what_the_tables_cannot_hold_fails_alone(
    pool: Pool, client: Gateway, tenant: str, changes: dict[str, Any], error_type: str
) -> None:
    await submit_by_hand(pool, tenant, 7)
    key, value, headers = by_hand(tenant, 7, **changes)
    async with reading(DEAD_LETTER) as dead_letters, reading(STATUS) as statuses, writing() as kafka:
        await kafka.send_and_wait(EMBEDDED.name, value, key=key, headers=headers, partition=partition_of(key))
        [letter] = await dead_letters.of_tenant(tenant)
        assert header(letter, "error_type") == error_type
        [told] = await statuses.of_tenant(tenant)
        event, _ = decode((DocumentStatus,), told.key, told.value, told.headers)
        assert (event.state, event.revision) == ("failed", 7)
    # Its partition goes on.
    neighbour = next(
        name for name in map(str, range(1_000)) if partition_of(f"{tenant}/{name}".encode()) == partition_of(key)
    )
    await add(client, "A mill.", neighbour)


async def test_a_revision_with_holes_is_not_shown(pool: Pool, client: Gateway, tenant: str) -> None:
    await submit_by_hand(pool, tenant, 7)
    made = batch(tenant, "d", 7, ["The end."], first=2)
    async with reading(DEAD_LETTER) as dead_letters, writing() as kafka:
        key, value, headers = encode(made, binary=np.stack([vector(1)]).tobytes())
        await kafka.send_and_wait(EMBEDDED.name, value, key=key, headers=headers, partition=partition_of(key))
        [letter] = await dead_letters.of_tenant(tenant)
    assert header(letter, "error_type") == "chunks-missing"
    await eventually(lambda: _has_failed(pool, tenant))
    assert (await tables(pool, tenant))["document_chunks"] == []


async def test_too_few_vectors_are_refused(pool: Pool, client: Gateway, tenant: str) -> None:
    await submit_by_hand(pool, tenant, 7)
    key, _, _ = made = by_hand(tenant, 7)
    async with reading(DEAD_LETTER) as dead_letters, writing() as kafka:
        await kafka.send_and_wait(EMBEDDED.name, made[1][:-2], key=key, headers=made[2], partition=partition_of(key))
        [letter] = await dead_letters.of_tenant(tenant)
        await eventually(lambda: _has_failed(pool, tenant))
    assert header(letter, "error_type") == "vectors-missing"
    assert "vectors" in header(letter, "error_message")
