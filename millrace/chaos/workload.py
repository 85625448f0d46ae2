"""The workload: clients of every kind on two gateways and Kafka, paused, settled and observed at the runner's word."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from millrace.chaos.history import History


class Workload:
    """A small, steady load, all of whose choices follow from ``seed``; ``kafka``: bootstrap servers."""

    def __init__(self, gateways: Sequence[str], kafka: str, history: History, seed: int) -> None:
        self._gateways = gateways
        self._kafka = kafka
        self._history = history
        self._seed = seed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clients while the context lasts."""
        yield

    async def pause(self) -> None:
        """Return once no client has anything under way."""

    def resume(self) -> None:
        """Let the clients go on."""

    async def settle(self, deadline_s: float) -> list[str]:
        """Wait until every acknowledged write is final; what is not at the deadline, in words."""
        raise NotImplementedError

    async def observe(self, database_url: str, blobs_url: str) -> None:
        """Record what is stored once everything is final."""
        raise NotImplementedError
