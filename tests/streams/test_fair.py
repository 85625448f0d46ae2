"""The gate: tenants in turn, never more than there are places, and one of them not for heavy work."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.fair import FairGate, heavy_max


class Work:
    """Work that holds its place until it is told to end."""

    def __init__(self, gate: FairGate, tenant: str, *, heavy: bool = False) -> None:
        self.tenant = tenant
        self.heavy = heavy
        self.inside = False
        self._gate = gate
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._gate.slot(self.tenant, heavy=self.heavy):
            self.inside = True
            try:
                await self._end.wait()
            finally:
                self.inside = False

    async def end(self) -> None:
        self._end.set()
        await self.task


async def settled() -> None:
    """Everything has gone as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def inside(works: list[Work]) -> list[str]:
    return [work.tenant for work in works if work.inside]


async def test_tenants_are_let_in_in_turn() -> None:
    gate = FairGate(1)
    works = [Work(gate, tenant) for tenant in "aaaab"]
    order = []
    for _ in works:
        await settled()
        [current] = [work for work in works if work.inside]
        order.append(current.tenant)
        await current.end()
    assert "".join(order) == "abaaa", "next but one, although four came before"


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_light_work_does_not_wait_for_heavy_work(slots: int) -> None:
    gate = FairGate(slots)
    heavy = [Work(gate, f"t{i}", heavy=True) for i in range(2 * slots)]
    await settled()
    assert len(inside(heavy)) == heavy_max(slots)
    light = Work(gate, "t0")
    await settled()
    assert light.inside == (slots > 1)
    for work in (*heavy, light):
        work._end.set()
    await asyncio.gather(*(work.task for work in (*heavy, light)))


async def test_what_fails_inside_frees_its_place() -> None:
    gate = FairGate(1)
    with pytest.raises(ZeroDivisionError):
        async with gate.slot("a"):
            raise ZeroDivisionError
    async with asyncio.timeout(5), gate.slot("b"):
        pass


steps = st.lists(st.tuples(st.sampled_from(["come", "come heavy", "end", "cancel"]), st.integers(0, 9)), max_size=40)


@given(st.integers(1, 3), steps)
@settings(max_examples=100, deadline=None)
def test_nobody_is_forgotten_and_no_place_is_lost(slots: int, steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(slots, steps))


async def play(slots: int, steps: list[tuple[str, int]]) -> None:
    gate, works = FairGate(slots), list[Work]()
    acts: dict[str, Callable[[Work], Any]] = {
        "end": lambda work: work._end.set(),
        "cancel": lambda work: work.task.cancel(),
    }
    for what, number in steps:
        if what.startswith("come"):
            works.append(Work(gate, f"t{number % 3}", heavy=what == "come heavy"))
        elif works:
            acts[what](works[number % len(works)])
        if number % 2:
            await settled()
        within = [work for work in works if work.inside]
        assert len(within) <= slots
        assert sum(work.heavy for work in within) <= heavy_max(slots)
    await settled()
    waiting = [work for work in works if not work.inside and not work.task.done()]
    if any(not work.heavy for work in waiting):
        assert len(inside(works)) == slots
    for work in works:
        work._end.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*(work.task for work in works), return_exceptions=True)
    # All places are free again.
    again = [Work(gate, "t") for _ in range(slots)]
    await settled()
    assert len(inside(again)) == slots
    await asyncio.gather(*(work.end() for work in again))
