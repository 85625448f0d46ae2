"""Waiting for conditions, each with a deadline: the one place where tests poll."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05


async def eventually(probe: Callable[[], Awaitable[T]], *, deadline_s: float = 20) -> T:
    """What ``probe`` returns once that is true; fails at the deadline with what it returned last."""
    last: T | None = None
    try:
        async with asyncio.timeout(deadline_s):
            while not (last := await probe()):
                await _pause(POLL_S)
    except TimeoutError:
        raise AssertionError(f"not within {deadline_s:g} s; the last answer was {last!r}") from None
    return last


async def _pause(seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
