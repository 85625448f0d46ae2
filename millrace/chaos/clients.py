"""What every client is: a name in the history, choices of its own, and steps with pauses between them."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from millrace.chaos.doors import HttpDoor, KafkaDoor
from millrace.chaos.history import History, Operation, Outcome
from millrace.chaos.library import Document, Library


@dataclass(frozen=True, slots=True)
class Doors:
    """All ways in."""

    history: History
    gateways: Sequence[HttpDoor]
    kafka: KafkaDoor

    def http(self, rng: random.Random) -> HttpDoor:
        """Any gateway: what one acknowledged is asked of another one as often as of itself."""
        return rng.choice(self.gateways)


class Client(ABC):
    """One client; what it does follows from ``rng``, as far as the answers are the same."""

    pause_s: ClassVar[float]
    """Between two steps, on average."""

    def __init__(self, name: str, doors: Doors, library: Library, rng: random.Random) -> None:
        self.name = name
        self.doors = doors
        self.library = library
        self.rng = rng

    @abstractmethod
    async def step(self) -> None:
        """Do one thing, and record what came of it."""

    async def run(self, may_go: asyncio.Event, done: asyncio.Event) -> None:
        """Step for ever, while ``may_go`` is set; ``done`` is set while no step is under way."""
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
            await may_go.wait()
            done.clear()
            try:
                await self.step()
            finally:
                done.set()

    @contextmanager
    def writing(self, kind: str, document: Document, **arguments: Any) -> Iterator[Operation]:
        """Record a write of a document, which is to be settled from then on."""
        document.dirty = True
        with self.operation(kind, document, **arguments) as operation:
            try:
                yield operation
            finally:
                document.doubtful |= operation.outcome is Outcome.UNKNOWN

    def operation(self, kind: str, document: Document, **arguments: Any) -> AbstractContextManager[Operation]:
        """Record an operation on a document."""
        return self.doors.history.operation(self.name, kind, document.tenant, document.document_id, **arguments)
