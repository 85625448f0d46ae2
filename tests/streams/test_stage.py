"""What a stage does with records that can be handled at once, later, or never."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError

from db.errors import BlobMissing
from db.pool import Pool
from engine.errors import EmbedderUnavailable
from schemas.errors import InvalidEvent
from schemas.events import DocumentDeleted, DocumentForgotten, Failure, Origin
from schemas.topics import CHUNKED, SUBMITTED
from streams.outbox import Outbox
from streams.record import Record
from streams.stage import RETRY_AFTER_S_MAX, Stage
from tests.conditions import eventually
from tests.streams.records import record
from tests.streams.through import put_through
from tests.streams.topic import header, reading

ATTEMPTS_MAX = 3
LANES = 40
OUTAGE_S = 2.0


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
        self.noted: list[tuple[int, str, int]] = []

    async def handle(self, records: Sequence[Record]) -> None:
        self.tries.append([each.offset for each in records])
        for each in records:
            self._act(each, len(self.tries))
        self.done += [each.offset for each in records]

    async def give_up(self, record: Record, failure: Failure) -> None:
        self.given_up.append((record.offset, failure))
        if self._give_up:
            self._give_up(record, len(self.given_up))

    async def note_retry(self, record: Record, failure: Failure, attempt: int) -> None:
        self.noted.append((record.offset, failure.type, attempt))
        raise RuntimeError("nobody minds")


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
    assert await stage.run([record(tenant)]) == {}
    assert (stage.tries, stage.done, stage.given_up) == ([[0], [0]], [0], [])


async def test_an_outage_may_take_longer_than_all_attempts(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(ConnectionRefusedError(), times=ATTEMPTS_MAX + 1))
    await put_through(stage, [record(tenant, 1)])
    assert (len(stage.tries), stage.done, stage.given_up) == (ATTEMPTS_MAX + 2, [1], [])


async def test_what_may_pass_is_tried_a_few_times(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(EmbedderUnavailable("HTTP 500")))
    await put_through(stage, [record(tenant)])
    assert stage.tries == [[0]] * ATTEMPTS_MAX
    [(_, failure)] = stage.given_up
    assert (failure.type, failure.attempt) == ("embedder-unavailable", ATTEMPTS_MAX)
    assert stage.noted == [(0, "embedder-unavailable", attempt) for attempt in range(1, ATTEMPTS_MAX)]
    recovering = Trying(outbox, failing(EmbedderUnavailable(), times=1))
    await put_through(recovering, [record(tenant)])
    assert (recovering.done, recovering.given_up) == ([0], [])


async def test_who_says_when_to_come_back_is_left_alone_until_then(outbox: Outbox, tenant: str) -> None:
    limited = EmbedderUnavailable("HTTP 429")
    stage = Trying(outbox, failing(limited))
    for told_s, expected_s in ((7.0, 7.0), (10 * RETRY_AFTER_S_MAX, RETRY_AFTER_S_MAX)):
        limited.retry_after_s = told_s
        assert await stage.run([record(tenant)]) == {record(tenant): expected_s}


async def test_pauses_grow_and_scatter(outbox: Outbox, tenant: str) -> None:
    random.seed(1)
    stage = Trying(outbox, failing(EmbedderUnavailable()))
    pauses = {
        attempt: [pause_s for _ in range(50) for pause_s in (await stage.run([record(tenant)], attempt)).values()]
        for attempt in range(1, ATTEMPTS_MAX)
    }
    assert all(min(of) < max(of) / 4 for of in pauses.values())
    assert max(pauses[2]) > max(pauses[1])


async def test_what_will_not_pass_is_given_up_at_once(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing("t/x")))
    assert await stage.run([record(tenant, 41, partition=5, value=b"\xff\x00raw")]) == {}
    assert stage.tries == [[41]]
    assert stage.given_up == [
        (41, Failure(type="content-missing", message="The object store has no such content. t/x", stage="trying"))
    ]


async def test_nothing_internal_is_told(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(RuntimeError("password=hush")))
    await stage.run([record(tenant)])
    [(_, failure)] = stage.given_up
    assert "its log says more" in failure.message
    assert "hush" not in failure.message


async def test_what_is_no_event_is_given_up_too(outbox: Outbox, tenant: str) -> None:
    """Its key may still name a document, which must not stay on its way for ever."""
    stage = Trying(outbox, failing(InvalidEvent("no")))
    await stage.run([record(tenant)])
    [(_, failure)] = stage.given_up
    assert failure.type == InvalidEvent.type


async def test_one_bad_record_fails_alone(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing(), offset=2))
    await put_through(stage, [record(tenant, offset) for offset in range(8)])
    assert sorted(stage.done) == [0, 1, 3, 4, 5, 6, 7]
    assert [offset for offset, _ in stage.given_up] == [2]
    assert stage.tries[-1] != [2], "the others of its batch did not wait for it"


async def test_a_record_that_is_retried_holds_nobody_up(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(EmbedderUnavailable(), offset=0))
    await put_through(stage, [record(tenant, offset) for offset in range(30)])
    assert sorted(stage.done) == list(range(1, 30))
    assert [offset for offset, _ in stage.given_up] == [0]
    after_last_success = stage.tries[max(i for i, each in enumerate(stage.tries) if each != [0]) + 1 :]
    assert len(after_last_success) == ATTEMPTS_MAX - 1, "all others were done with before its second try"


async def test_who_is_away_is_not_asked_by_all_at_once(outbox: Outbox, tenant: str) -> None:
    """Forty documents wait for an embedder: while it is away few of them ask, and all get through afterwards."""
    back_at = time.monotonic() + OUTAGE_S
    asked: Counter[int] = Counter()

    def act(record: Record, attempt: int) -> None:
        if time.monotonic() < back_at:
            asked[record.offset] += 1
            raise EmbedderUnavailable

    stage = Trying(outbox, act)
    await put_through(stage, [record(tenant, offset) for offset in range(LANES)])
    assert sorted(stage.done) == list(range(LANES))
    assert asked.total() < LANES
    assert stage.given_up == []


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


async def test_giving_up_waits_for_an_outage(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(BlobMissing()), failing(ConnectionRefusedError(), times=2))
    assert await stage.run([record(tenant, 1)]) == {}
    assert [offset for offset, _ in stage.given_up] == [1, 1, 1]
    assert stage.tries == [[1]]


async def test_what_even_giving_up_fails_on_is_kept_and_the_stage_goes_on(outbox: Outbox, tenant: str) -> None:
    """Nobody has its letter, so it is not done with: it is tried again until somebody has."""
    broken = failing(InvalidEvent("broken"), times=2)
    stage = Trying(outbox, failing(BlobMissing(), offset=0), broken)
    poison, same_key = record(tenant, 0), replace(record(tenant, 9), key=f"{tenant}/0".encode())
    await put_through(stage, [poison, *(record(tenant, offset) for offset in range(1, 9)), same_key])
    assert [offset for offset, _ in stage.given_up] == [0, 0, 0]
    assert sorted(stage.done) == list(range(1, 10))
    assert stage.done[-1] == same_key.offset, "its own document's next record waited for it, and nobody else's"


async def test_a_cancelled_stage_ends(outbox: Outbox, tenant: str) -> None:
    stage = Trying(outbox, failing(ConnectionRefusedError()))
    task = asyncio.create_task(stage.run([record(tenant)]))

    async def tried() -> bool:
        return bool(stage.tries)

    await eventually(tried)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.given_up == []


async def test_what_a_record_causes_keeps_its_partition_order_and_trace(outbox: Outbox, tenant: str) -> None:
    event = DocumentDeleted(tenant_id=tenant, document_id="d")
    async with reading(CHUNKED) as chunked:
        await outbox.emit(CHUNKED, record(tenant, partition=6), [(event, None)] * 3)
        found = await chunked.of_tenant(tenant, 3)
    assert {each.partition for each in found} == {6}
    assert [each.offset - found[0].offset for each in found] == [0, 1, 2]
    assert {header(each, "traceparent").split("-")[1] for each in found} == {"a" * 32}
