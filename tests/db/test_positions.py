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
from tests.db.rows import publish, status

LONG_S = 30
"""A wait that is over long before, or the test fails."""
FINAL = [state for state in State if state.final]


async def wait(pool: Pool, tenant: str, position: int, timeout_s: float = LONG_S, document_id: str = "d") -> None:
    await positions.wait_until_settled(pool, tenant, Position(0, position, document_id), FINAL, timeout_s)


async def settled(pool: Pool, tenant: str, position: int, document_id: str = "d") -> bool:
    try:
        await wait(pool, tenant, position, 0, document_id)
    except PositionNotReached:
        return False
    return True


async def test_a_visible_revision_settles_itself_and_what_came_before(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 6, ["A mill."])
    assert [await settled(pool, tenant, position) for position in (1, 6, 7)] == [True, True, False]


@pytest.mark.parametrize("state", State)
async def test_a_final_state_settles_and_no_other(pool: Pool, tenant: str, state: State) -> None:
    await processing.report(pool, status(tenant, "d", 6, state))
    assert [await settled(pool, tenant, position) for position in (5, 6, 7)] == [state.final, state.final, False]


async def test_a_tombstone_settles_also_once_its_report_is_gone(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await documents.lock(connection, tenant, "d")
        await documents.bury(connection, tenant, "d", 6)
    assert [await settled(pool, tenant, position) for position in (6, 7)] == [True, False]


async def test_a_row_that_only_holds_the_lock_settles_nothing(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await documents.lock(connection, tenant, "d")
    assert not await settled(pool, tenant, 1)


async def test_a_wait_ends_when_another_connection_gets_there(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "d", 6, ["A mill."])
    waiting = asyncio.create_task(wait(pool, tenant, 7))
    with pytest.raises(PositionNotReached, match=r"0\.1 s"):
        await wait(pool, tenant, 7, 0.1)
    assert not waiting.done()
    await publish(pool, tenant, "d", 8, ["A mill."])
    await asyncio.wait_for(waiting, LONG_S / 2)


async def test_other_tenants_and_documents_do_not_count(pool: Pool, tenant: str) -> None:
    await publish(pool, tenant, "other", 9, ["A mill."])
    await publish(pool, f"{tenant}-other", "d", 9, ["A mill."])
    assert not await settled(pool, tenant, 1)


async def test_many_may_wait_on_few_connections(pool: Pool, tenant: str) -> None:
    waiting = [asyncio.create_task(wait(pool, tenant, 1 + index % 3)) for index in range(5 * pool.get_max_size())]
    await publish(pool, tenant, "d", 3, ["A mill."])
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
