"""Records put through a stage as a worker does it."""

import asyncio
from collections.abc import Sequence

from streams.lanes import Lanes
from streams.record import Record
from streams.stage import Stage

DEADLINE_S = 30


async def put_through(stage: Stage, records: Sequence[Record], *, deadline_s: float = DEADLINE_S) -> None:
    """Return once the stage is done with all of them; fails with whatever it does not deal with itself."""
    over = asyncio.get_running_loop().create_future()
    missing = {(each.partition, each.offset) for each in records}

    def passed(partition: int, offsets: range) -> None:
        missing.difference_update((partition, offset) for offset in offsets)
        if not missing and not over.done():
            over.set_result(None)

    lanes = Lanes(stage, passed, over.set_exception)
    try:
        async with asyncio.timeout(deadline_s):
            for each in records:
                await lanes.put(each)
            await over
    finally:
        await lanes.stop()
