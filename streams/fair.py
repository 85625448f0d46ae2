"""Fair choice: tenants take turns, and what is heavy never takes the last place."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """Who is next: tenants in turn, then what each of them waits for in turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[T, bool]] = {}

    def add(self, tenant: str, item: T, *, heavy: bool = False) -> None:
        """Let an item wait behind the others of its tenant."""
        self._waiting.setdefault(tenant, {})[item] = heavy

    def first(self, *, heavy: bool = True) -> T | None:
        """Whose turn it is; without the heavy ones if so asked."""
        for items in self._waiting.values():
            for item, is_heavy in items.items():
                if heavy or not is_heavy:
                    return item
        return None

    def remove(self, tenant: str, item: T) -> None:
        """Take an item out, if it waits; the other tenants come before the next of this one."""
        items = self._waiting.pop(tenant, {})
        items.pop(item, None)
        if items:
            self._waiting[tenant] = items


class FairGate:
    """Lets so many in at a time; who waits is let in tenant by tenant.

    Heavy work gets all places but one, so that light work never waits for heavy work to end.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._free_for_heavy = heavy_max(slots)
        self._turns = Turns[asyncio.Future[None]]()
        self._who: dict[asyncio.Future[None], tuple[str, bool]] = {}

    @asynccontextmanager
    async def slot(self, tenant: str, *, heavy: bool = False) -> AsyncIterator[None]:
        """Hold a place, once it is this tenant's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._who[turn] = tenant, heavy
        self._turns.add(tenant, turn, heavy=heavy)
        self._admit()
        try:
            await turn
            yield
        finally:
            del self._who[turn]
            self._turns.remove(tenant, turn)
            if turn.done() and not turn.cancelled():
                self._count(1, heavy=heavy)
                self._admit()

    def _admit(self) -> None:
        while self._free and (turn := self._turns.first(heavy=self._free_for_heavy > 0)):
            tenant, heavy = self._who[turn]
            self._turns.remove(tenant, turn)
            if not turn.cancelled():
                self._count(-1, heavy=heavy)
                turn.set_result(None)

    def _count(self, places: int, *, heavy: bool) -> None:
        self._free += places
        self._free_for_heavy += places if heavy else 0


def heavy_max(slots: int) -> int:
    """How many of so many places heavy work may have: all but one, if there is more than one."""
    return max(1, slots - 1)
