"""Fair choice: tenants take turns, and what is heavy never takes the last place."""

from collections.abc import Hashable
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


def heavy_max(places: int) -> int:
    """How many of so many places heavy work may have: all but one, if there is more than one."""
    return max(1, places - 1)
