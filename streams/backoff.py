"""How long to wait before another try."""

import random
from collections.abc import Hashable
from time import monotonic

FIRST_S = 0.2
MAX_S = 30.0
"""With full jitter 15 s on average: soon enough after an outage, and seldom enough to let a service recover."""
BREAKER_LANES = 3
"""One document, or two, may be to blame themselves; when a third fails and nothing succeeds, what they need is away."""


def pause_s(failures: int) -> float:
    """Seconds to wait after so many failures: exponential with full jitter, so that nobody comes back together."""
    return random.uniform(0, min(MAX_S, FIRST_S * 2.0 ** min(failures - 1, 16)))  # noqa: S311


class Breaker:
    """Notes that everything fails: then one try at a time is enough, after a pause."""

    def __init__(self) -> None:
        self._failed: set[Hashable] = set()
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether several failed and none has succeeded since."""
        return len(self._failed) >= BREAKER_LANES

    def succeeded(self) -> None:
        """Note that something worked."""
        self._failed.clear()
        self._until = 0.0

    def failed(self, who: Hashable) -> None:
        """Note that somebody's try failed; the more of them failed, the longer the pause."""
        self._failed.add(who)
        if self.is_open:
            self._until = monotonic() + pause_s(len(self._failed))

    def wait_s(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - monotonic())
