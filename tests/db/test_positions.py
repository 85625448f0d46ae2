"""Readers wait until the tables show a write, and logs are numbered in order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import documents, positions, processing
from db.errors import PositionNotReached
from db.pool import Pool
from schemas.events import State
from schemas.position import OFFSET_BITS, Position, position_of
from tests.db.rows import status

LONG_S = 30
"""A wait that is over long before, or the test fails."""


async def wait(pool: Pool, tenant: str, position: int, timeout_s: float = LONG_S, document_id: str = "d") -> None:
    await positions.wait_until_settled(pool, tenant, Position(0, position, document_id), timeout_s)


async def settled(pool: Pool, tenant: str, position: int, document_id: str = "d") -> bool:
    try:
        await wait(pool, tenant, position, 0, document_id)
    except PositionNotReached:
        return False
    return True


async def settle(pool: Pool, tenant: str, position: int, document_id: str = "d") -> None:
    async with pool.acquire() as connection, connection.transaction():
        await documents.apply(connection, {(tenant, document_id): position})
        await documents.settle(connection, tenant, document_id, position)


async def test_an_outcome_settles_what_came_before(pool: Pool, tenant: str) -> None:
    await settle(pool, tenant, 6)
    assert [await settled(pool, tenant, position) for position in (1, 6, 7)] == [True, True, False]
    await settle(pool, tenant, 3)
    assert await settled(pool, tenant, 6)


async def test_a_tombstone_stays_settled(pool: Pool, tenant: str) -> None:
    await settle(pool, tenant, 6)
    async with pool.acquire() as connection, connection.transaction():
        await documents.bury(connection, tenant, "d", 6)
    assert [await settled(pool, tenant, position) for position in (6, 7)] == [True, False]


async def test_an_event_that_is_no_outcome_settles_nothing(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await documents.apply(connection, {(tenant, "d"): 7})
    assert not await settled(pool, tenant, 1)


async def test_a_write_is_known_from_its_first_report_on(pool: Pool, tenant: str) -> None:
    place = Position(0, 6, "d")
    for told in (None, 5):
        if told:
            await processing.report(pool, [status(tenant, "d", told, State.INDEXED)])
        with pytest.raises(PositionNotReached):
            await positions.wait_until_known(pool, tenant, place, 0)
    await processing.report(pool, [status(tenant, "d", 6, State.RECEIVED)])
    await positions.wait_until_known(pool, tenant, place, 0)
    # A cancellation becomes no revision; what is known of it is that it is done.
    await settle(pool, tenant, 6, "other")
    await positions.wait_until_known(pool, tenant, Position(0, 6, "other"), 0)


async def test_a_wait_ends_when_another_connection_gets_there(pool: Pool, tenant: str) -> None:
    await settle(pool, tenant, 6)
    waiting = asyncio.create_task(wait(pool, tenant, 7))
    with pytest.raises(PositionNotReached, match=r"0\.1 s"):
        await wait(pool, tenant, 7, 0.1)
    assert not waiting.done()
    await settle(pool, tenant, 8)
    await asyncio.wait_for(waiting, LONG_S / 2)


async def test_other_tenants_and_documents_do_not_count(pool: Pool, tenant: str) -> None:
    await settle(pool, tenant, 9, "other")
    await settle(pool, f"{tenant}-other", 9)
    assert not await settled(pool, tenant, 1)


async def test_many_may_wait_on_few_connections(pool: Pool, tenant: str) -> None:
    waiting = [asyncio.create_task(wait(pool, tenant, 1 + index % 3)) for index in range(5 * pool.get_max_size())]
    await settle(pool, tenant, 3)
    await asyncio.wait_for(asyncio.gather(*waiting), LONG_S / 2)


async def test_logs_are_numbered_in_the_order_in_which_they_were_seen(pool: Pool, tenant: str) -> None:
    first, second = [await positions.epoch_of(pool, f"{tenant}-{name}") for name in "ab"]
    assert second == first + 1
    assert await positions.epoch_of(pool, f"{tenant}-a") == first


async def test_a_log_that_many_see_first_gets_one_number(pool: Pool, tenant: str) -> None:
    epochs = await asyncio.gather(*(positions.epoch_of(pool, f"{tenant}-{index % 3}") for index in range(24)))
    assert [len(set(epochs[start::3])) for start in range(3)] == [1, 1, 1]
    assert len(set(epochs)) == 3


@given(st.integers(0, 2**13 - 2), st.integers(0, 2**OFFSET_BITS - 2))
def test_a_new_log_continues_the_order(epoch: int, offset: int) -> None:
    assert position_of(epoch + 1, 0) > position_of(epoch, offset) >= 1
    assert position_of(epoch, offset + 1) == position_of(epoch, offset) + 1
