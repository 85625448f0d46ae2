"""Batches are bounded, and keys go where Kafka's own partitioner puts them."""

from aiokafka import AIOKafkaProducer
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.broker import BrokerSettings
from schemas.events import BlobContent, DocumentStatus, DocumentSubmitted, State
from schemas.topics import DEAD_LETTER, STATUS, SUBMITTED
from schemas.wire import decode, encode
from streams.parse import BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, batches, partition_of
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
