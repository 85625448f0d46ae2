"""Millrace with a defect: ``python -m tests.chaos.defective DEFECT worker parse``, and so on."""

import itertools
import sys
from typing import Any

from gateway.state import State
from millrace.cli import main
from schemas.position import position_of
from schemas.topics import SUBMITTED, Topic


def forgetful_gateway() -> None:
    """Every third submission is acknowledged, with a position, and written nowhere."""
    publish, numbers = State.publish, itertools.count()

    async def forget(self: State, topic: Topic, *arguments: Any) -> tuple[int, int]:
        if topic is SUBMITTED and next(numbers) % 3 == 2:
            return 0, position_of(self.epoch, 1_000_000)
        return await publish(self, topic, *arguments)

    State.publish = forget  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
    main()
