"""Documents are parsed together, and cut into bounded batches; keys go where Kafka's own partitioner puts them."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given, settings
from hypothesis import strategies as st

from db.blobs import Blobs, BlobSettings
from db.pool import Pool
from engine.chunk import ChunkSettings
from engine.parse import ParseLimits
from schemas.broker import BrokerSettings
from schemas.events import (
    BlobContent,
    DocumentChunked,
    DocumentDeleted,
    DocumentFailed,
    DocumentForgotten,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    State,
    TextContent,
)
from schemas.topics import CHUNKED, DEAD_LETTER, STATUS, SUBMITTED
from schemas.wire import decode, encode
from streams.embed import CHUNKED_KINDS
from streams.outbox import Outbox
from streams.parse import BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, ParseStage, batches, partition_of
from streams.parser import Parser
from streams.record import Record
from streams.settings import WorkerSettings
from tests.conftest import Process
from tests.db.rows import chunk
from tests.streams.topic import header, reading, writing

KEYS_TRIED = 64

# Lengths around the bound; four bytes a character, so that counting characters would show.
lengths = st.one_of(st.integers(1, 50), st.integers(BATCH_BYTES_MAX // 16, BATCH_BYTES_MAX // 3))


@given(st.lists(lengths, max_size=30) | st.integers(0, 3 * BATCH_CHUNKS_MAX).map(lambda count: [1] * count))
@settings(max_examples=50, deadline=None)
def test_batches_are_bounded_by_count_and_bytes(sizes: list[int]) -> None:
    pieces = [chunk(ordinal, "\U0001f600" * size) for ordinal, size in enumerate(sizes)]
    cut = list(batches(pieces))
    assert [piece for batch in cut for piece in batch] == pieces
    bytes_of = [[4 * len(piece.text) for piece in batch] for batch in cut]
    for index, batch in enumerate(bytes_of):
        assert 0 < len(batch) <= BATCH_CHUNKS_MAX
        assert len(batch) == 1 or sum(batch) <= BATCH_BYTES_MAX
        if index + 1 < len(bytes_of):  # no batch ends before it has to
            full = len(batch) == BATCH_CHUNKS_MAX
            assert full or sum(batch) + bytes_of[index + 1][0] > BATCH_BYTES_MAX


async def test_a_key_goes_where_the_default_partitioner_puts_it(environment: dict[str, str]) -> None:
    async with AIOKafkaProducer(**BrokerSettings().client()) as kafka:
        # The same each time, or a partition would now and then have none.
        keys = [f"t/{str(index) * (index % 7 + 1)}é".encode() for index in range(KEYS_TRIED)]
        placed = [await (await kafka.send(STATUS.name, b"{}", key=key)) for key in keys]
    assert [place.partition for place in placed] == [partition_of(key) for key in keys]
    assert SUBMITTED.partitions == STATUS.partitions
    assert len({place.partition for place in placed}) == SUBMITTED.partitions


async def test_a_document_in_a_foreign_partition_is_put_where_it_belongs(worker: Process, tenant: str) -> None:
    event = DocumentSubmitted.model_validate(
        {
            "tenant_id": tenant,
            "document_id": "d",
            "media_type": "text/plain",
            "content": {"kind": "text", "text": "Hi."},
        }
    )
    key, value, headers = encode(event)
    home = partition_of(key)
    async with reading(STATUS) as statuses, writing() as kafka:
        await kafka.send_and_wait(
            SUBMITTED.name, value, key=key, headers=headers, partition=(home + 3) % SUBMITTED.partitions
        )
        found = await statuses.until(
            lambda records: records and _state(records[-1]).state.final,
            lambda record: record.key == key,
        )
    assert _state(found[-1]).state is State.INDEXED
    assert {record.partition for record in found} == {home}
    assert {_state(record).origin.partition for record in found} == {home}


@pytest.fixture(scope="module")
async def stage(outbox: Outbox, pool: Pool) -> AsyncIterator[ParseStage]:
    parser = Parser(WorkerSettings(parse_processes=1), ParseLimits(), ChunkSettings())
    yield ParseStage(outbox, 1, parser, pool, Blobs(BlobSettings()))
    await parser.close()


def written(offset: int, event: Event) -> Record:
    """A record as it lies in the partition of its key."""
    key, value, headers = encode(event)
    return Record(SUBMITTED.name, partition_of(key), offset, 0, key, value, tuple(headers), 1_700_000_000_000)


def text(tenant: str, document_id: str, media_type: str = "text/plain") -> DocumentSubmitted:
    content = TextContent(text=f"The locking pin of {document_id} is painted yellow.")
    return DocumentSubmitted(tenant_id=tenant, document_id=document_id, media_type=media_type, content=content)


async def test_one_that_cannot_be_parsed_holds_up_nobody_in_its_batch(stage: ParseStage, tenant: str) -> None:
    events = [text(tenant, f"d{number}", "application/pdf" if number == 2 else "text/plain") for number in range(5)]
    records = [written(offset, event) for offset, event in enumerate(events)]
    async with reading(CHUNKED) as chunked:
        assert await stage.run(records) == {}
        found = [
            decode(CHUNKED_KINDS, each.key, each.value, each.headers)[0] for each in await chunked.of_tenant(tenant, 5)
        ]
    runs = {each.document_id: each.run for each in found if isinstance(each, DocumentChunked)}
    assert runs == dict.fromkeys(("d0", "d1", "d3", "d4"), 1), "none of them was parsed again"
    failures = [(each.document_id, each.error.type) for each in found if isinstance(each, DocumentFailed)]
    assert failures == [("d2", "media-type-mismatch")]


async def test_what_is_written_of_a_document_keeps_its_order_in_a_batch(stage: ParseStage, tenant: str) -> None:
    deleted = DocumentDeleted(tenant_id=tenant, document_id="d")
    events = [text(tenant, "d"), text(tenant, "e"), deleted, text(tenant, "d")]
    async with reading(CHUNKED) as chunked:
        assert await stage.run([written(offset, event) for offset, event in enumerate(events)]) == {}
        found = await chunked.of_tenant(tenant, 4)
    of_d = [header(each, "ce_type") for each in found if each.key == deleted.key()]
    assert of_d == [DocumentChunked.event_type, DocumentForgotten.event_type, DocumentChunked.event_type]


async def test_a_key_that_no_file_can_have_blocks_nobody(worker: Process, tenant: str) -> None:
    def submitted(document_id: str, content: BlobContent) -> DocumentSubmitted:
        return DocumentSubmitted(tenant_id=tenant, document_id=document_id, media_type="text/plain", content=content)

    poison = [
        submitted("d", BlobContent(key=f"{tenant}/{'n' * 300}", size_bytes=1)),
        submitted("d", BlobContent(key=f"{tenant}-other/secret", size_bytes=1)),
        submitted("d", BlobContent(key=f"{tenant}/nothing", size_bytes=1)),
    ]
    async with reading(DEAD_LETTER) as dead_letters, writing() as kafka:
        for event in poison:
            key, value, headers = encode(event)
            await kafka.send_and_wait(SUBMITTED.name, value, key=key, headers=headers)
        letters = await dead_letters.of_tenant(tenant, len(poison))
    assert [header(letter, "error_type") for letter in letters] == [
        "content-missing",
        "foreign-content",
        "content-missing",
    ]


def _state(record: object) -> DocumentStatus:
    event, _ = decode((DocumentStatus,), record.key, record.value, record.headers)  # type: ignore[attr-defined]
    return event
