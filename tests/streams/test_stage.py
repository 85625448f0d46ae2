"""What a stage does with records that can be handled at once, later, or never."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError

from db.blobs import Blobs, BlobSettings
from db.errors import BlobMissing
from db.pool import Pool
from engine.errors import EmbedderUnavailable
from schemas.errors import InvalidEvent
from schemas.events import DocumentDeleted, DocumentForgotten, Failure, Origin
from schemas.topics import CHUNKED, DEAD_LETTER, MESSAGE_BYTES_MAX, SUBMITTED
from streams.outbox import Outbox
from streams.record import Record
from streams.stage import Stage
from tests.streams.records import record
from tests.streams.topic import header, reading

ATTEMPTS_MAX = 3


class Trying(Stage):
    """Does with each record what the test says, and notes it."""

    name = "trying"
    topic = SUBMITTED
    batch_records_max = 8

    def __init__(self, outbox: Outbox, act: "Act", give_up: "Act | None" = None) -> None:
        super().__init__(outbox, ATTEMPTS_MAX)
        self._act = act
        self._give_up = give_up
        self.tries: list[list[int]] = []
        self.done: list[int] = []
        self.given_up: list[tuple[int, Failure]] = []

    async def handle(self, records: Sequence[Record]) -> None:
        self.tries.append([each.offset for each in records])
        for each in records:
            self._act(each, len(self.tries))
        self.done += [each.offset for each in records]

    async def give_up(self, record: Record, failure: Failure) -> None:
        self.given_up.append((record.offset, failure))
        if self._give_up:
            self._give_up(record, len(self.given_up))


Act = Callable[[Record, int], None]


def failing(error: Exception, *, times: int = 1_000, offset: int | None = None) -> Act:
    def act(record: Record, attempt: int) -> None:
        if attempt <= times and offset in {None, record.offset}:
            raise error

    return act


@pytest.mark.parametrize(
    "outage",
    [
        KafkaConnectionError(),
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.InterfaceError("the pool is closing"),
        asyncpg.AdminShutdownError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.DeadlockDetectedError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_outage_is_waited_for(outbox: Outbox, tenant: str, outage: Exception) -> None:
    stage = Trying(outbox, failing(outage, times=1))
    await stage.run([record(tenant)])
    assert (stage.tries, stage.done, stage.given_up) == ([[0], [0]], [0], [])


async def test_an_outage_may_take_longer_than_all_attempts(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(ConnectionRefusedError(), times=ATTEMPTS_MAX + 1))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant, 1)])
        assert (len(stage.tries), stage.done, stage.given_up) == (ATTEMPTS_MAX + 2, [1], [])
        # Had the record been given up, it would come before this one.
        await Trying(outbox, failing(BlobMissing())).run([record(tenant, 2)])
        [letter] = await dead_letters.of_tenant(tenant)
    assert letter.key == f"{tenant}/2".encode()


async def test_what_may_pass_is_tried_a_few_times(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(EmbedderUnavailable("HTTP 500")))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant)])
        [letter] = await dead_letters.of_tenant(tenant)
    assert stage.tries == [[0]] * ATTEMPTS_MAX
    [(_, failure)] = stage.given_up
    assert (failure.type, failure.attempt) == ("embedder-unavailable", ATTEMPTS_MAX)
    assert header(letter, "error_attempt") == str(ATTEMPTS_MAX)
    recovering = Trying(outbox, failing(EmbedderUnavailable(), times=1))
    await recovering.run([record(tenant)])
    assert (recovering.done, recovering.given_up) == ([0], [])


async def test_what_will_not_pass_goes_to_the_dead_letter_at_once(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing("t/x")))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant, 41, partition=5, value=b"\xff\x00raw")])
        [letter] = await dead_letters.of_tenant(tenant)
    assert stage.tries == [[41]]
    assert stage.given_up == [
        (41, Failure(type="content-missing", message="The object store has no such content. t/x", stage="trying"))
    ]
    assert (letter.key, letter.value, letter.partition) == (f"{tenant}/41".encode(), b"\xff\x00raw", 5)
    names = [name for name, _ in letter.headers]
    assert names[:2] == ["ce_id", "traceparent"]
    assert {name: header(letter, name) for name in names[2:]} == {
        "error_type": "content-missing",
        "error_message": "The object store has no such content. t/x",
        "error_stage": "trying",
        "error_attempt": "1",
        "error_topic": SUBMITTED.name,
        "error_partition": "5",
        "error_offset": "41",
        "error_timestamp": "1700000000000",
    }


async def test_nothing_internal_is_told(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(RuntimeError("password=hush")))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant)])
        [letter] = await dead_letters.of_tenant(tenant)
    [(_, failure)] = stage.given_up
    for text in (failure.message, header(letter, "error_message")):
        assert "its log says more" in text
        assert "hush" not in text


async def test_what_is_no_event_is_given_up_too(outbox: Outbox, tenant: str) -> None:
    """Its key may still name a document, which must not stay on its way for ever."""
    stage = Trying(outbox, failing(InvalidEvent("no")))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant)])
        await dead_letters.of_tenant(tenant)
    [(_, failure)] = stage.given_up
    assert failure.type == InvalidEvent.type


async def test_a_record_that_is_too_large_to_be_sent_on_is_kept_in_the_object_store(
    outbox: Outbox, tenant: str
) -> None:
    """Compressed, Kafka took it; as it is, Kafka would refuse its dead letter."""
    huge = replace(record(tenant), value=b" " * (MESSAGE_BYTES_MAX + 1))
    async with reading(DEAD_LETTER) as dead_letters:
        await Trying(outbox, failing(InvalidEvent("no"))).run([huge])
        [letter] = await dead_letters.of_tenant(tenant)
    assert letter.value is None
    assert await Blobs(BlobSettings()).get(header(letter, "error_value_key")) == huge.value


async def test_one_bad_record_fails_alone(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing(), offset=2))
    await stage.run([record(tenant, offset) for offset in range(4)])
    assert stage.tries == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert stage.done == [0, 1, 3]
    assert [offset for offset, _ in stage.given_up] == [2]


async def test_a_record_that_postgres_cannot_hold_blocks_nobody(outbox: Outbox, pool: Pool, tenant: str) -> None:
    class Storing(Trying):
        async def handle(self, records: Sequence[Record]) -> None:
            await super().handle(records)
            await pool.fetchval("SELECT $1::integer", 2**40)

    stage = Storing(outbox, lambda *_: None)
    await asyncio.wait_for(stage.run([record(tenant)]), 10)
    assert [offset for offset, _ in stage.given_up] == [0]


async def test_an_event_that_kafka_cannot_hold_blocks_nobody(outbox: Outbox, tenant: str) -> None:
    class Emitting(Trying):
        async def handle(self, records: Sequence[Record]) -> None:
            event = DocumentForgotten(tenant_id=tenant, document_id="d", origin=Origin(partition=0, position=1))
            await outbox.emit(CHUNKED, records[0], [(event, b"x" * 6_000_000)])

    stage = Emitting(outbox, lambda *_: None)
    await asyncio.wait_for(stage.run([record(tenant)]), 10)
    assert [offset for offset, _ in stage.given_up] == [0]


async def test_giving_up_waits_for_an_outage_and_writes_one_dead_letter(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing()), failing(ConnectionRefusedError(), times=2))
    async with reading(DEAD_LETTER) as dead_letters:
        await stage.run([record(tenant, 1)])
        await Trying(outbox, failing(BlobMissing())).run([record(tenant, 2)])
        letters = await dead_letters.of_tenant(tenant, 2)
    assert [offset for offset, _ in stage.given_up] == [1, 1, 1]
    assert [letter.key for letter in letters] == [f"{tenant}/{offset}".encode() for offset in (1, 2)]


async def test_where_even_giving_up_fails_the_stage_goes_on(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing(), offset=0), failing(InvalidEvent("broken")))
    await stage.run([record(tenant, 0)])
    await stage.run([record(tenant, 1)])
    assert stage.done == [1]


async def test_a_cancelled_stage_ends(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(ConnectionRefusedError()))
    task = asyncio.create_task(stage.run([record(tenant)]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.1)
    assert task.cancelled()
    assert stage.given_up == []


async def test_what_a_record_causes_keeps_its_partition_order_and_trace(outbox: Outbox, tenant: str) -> None:
    event = DocumentDeleted(tenant_id=tenant, document_id="d")
    async with reading(CHUNKED) as chunked:
        await outbox.emit(CHUNKED, record(tenant, partition=6), [(event, None)] * 3)
        found = await chunked.of_tenant(tenant, 3)
    assert {each.partition for each in found} == {6}
    assert [each.offset - found[0].offset for each in found] == [0, 1, 2]
    assert {header(each, "traceparent").split("-")[1] for each in found} == {"a" * 32}
