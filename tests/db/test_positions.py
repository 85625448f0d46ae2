"""Positions only go forward, and readers can wait for them."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import positions
from db.errors import PositionNotReached
from db.pool import Pool
from schemas.position import OFFSET_BITS, Position, position_of
from schemas.topics import SUBMITTED

LONG_S = 30
"""A wait that is over long before, or the test fails."""


async def advance(pool: Pool, tenant: str, position: int, partition: int = 0) -> bool:
    async with pool.acquire() as connection:
        return await positions.advance(
            connection,
            tenant_id=tenant,
            group=positions.INDEX_GROUP,
            topic=SUBMITTED.name,
            partition=partition,
            position=position,
        )


async def stored(pool: Pool, tenant: str) -> int:
    return int(await pool.fetchval("SELECT position FROM stream_positions WHERE tenant_id = $1", tenant))


async def test_it_never_goes_back(pool: Pool, tenant: str) -> None:
    assert [await advance(pool, tenant, position) for position in (5, 5, 3, 6, 1, 9)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert await stored(pool, tenant) == 9


async def test_of_many_at_once_the_furthest_stays(pool: Pool, tenant: str) -> None:
    order = list(range(1, 41))
    random.Random(7).shuffle(order)
    moved = await asyncio.gather(*(advance(pool, tenant, position) for position in order))
    assert await stored(pool, tenant) == 40
    assert moved[order.index(40)]
    assert len(set(moved)) == 2


async def test_a_rolled_back_transaction_moved_nothing(pool: Pool, tenant: str) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await positions.advance(
            connection,
            tenant_id=tenant,
            group=positions.INDEX_GROUP,
            topic=SUBMITTED.name,
            partition=0,
            position=5,
        )
        await transaction.rollback()
    assert await advance(pool, tenant, 5)


async def test_a_wait_ends_when_another_connection_gets_there(pool: Pool, tenant: str) -> None:
    await advance(pool, tenant, 6)
    waiting = asyncio.create_task(positions.wait_until_indexed(pool, tenant, Position(0, 7), LONG_S))
    with pytest.raises(PositionNotReached):
        await positions.wait_until_indexed(pool, tenant, Position(0, 7), 0.1)
    assert not waiting.done()
    await advance(pool, tenant, 8)
    await asyncio.wait_for(waiting, LONG_S / 2)


async def test_a_wait_is_over_at_once_where_the_place_was_passed(pool: Pool, tenant: str) -> None:
    await advance(pool, tenant, 6)
    for position in (1, 6):
        await positions.wait_until_indexed(pool, tenant, Position(0, position), LONG_S)


async def test_other_tenants_and_partitions_do_not_count(pool: Pool, tenant: str) -> None:
    await advance(pool, tenant, 9, partition=1)
    await advance(pool, f"{tenant}-other", 9)
    with pytest.raises(PositionNotReached, match=r"0\.05 s"):
        await positions.wait_until_indexed(pool, tenant, Position(0, 1), 0.05)


async def test_many_may_wait_on_few_connections(pool: Pool, tenant: str) -> None:
    waiting = [
        asyncio.create_task(positions.wait_until_indexed(pool, tenant, Position(0, 1 + index % 3), LONG_S))
        for index in range(5 * pool.get_max_size())
    ]
    await advance(pool, tenant, 3)
    await asyncio.wait_for(asyncio.gather(*waiting), LONG_S / 2)


async def test_clusters_are_numbered_in_the_order_in_which_they_were_seen(pool: Pool, tenant: str) -> None:
    first, second = [await positions.epoch_of(pool, f"{tenant}-{name}") for name in "ab"]
    assert second == first + 1
    assert await positions.epoch_of(pool, f"{tenant}-a") == first


async def test_a_cluster_that_many_see_first_gets_one_number(pool: Pool, tenant: str) -> None:
    epochs = await asyncio.gather(*(positions.epoch_of(pool, f"{tenant}-{index % 3}") for index in range(24)))
    assert [len(set(epochs[start::3])) for start in range(3)] == [1, 1, 1]
    assert len(set(epochs)) == 3


@given(st.integers(0, 2**13 - 2), st.integers(0, 2**OFFSET_BITS - 2))
def test_a_new_cluster_continues_the_order(epoch: int, offset: int) -> None:
    assert position_of(epoch + 1, 0) > position_of(epoch, offset) >= 1
    assert position_of(epoch, offset + 1) == position_of(epoch, offset) + 1
