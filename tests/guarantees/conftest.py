"""The session's worker is away here; tests have workers of their own, which they stop where they want."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db import positions
from db.pool import Pool
from schemas.broker import BrokerSettings
from schemas.log import log_id
from tests.conftest import Process
from tests.guarantees.courses import Scene
from tests.guarantees.life import Life
from tests.guarantees.observed import observing
from tests.streams.conftest import outbox, pool
from tests.streams.topic import writing

__all__ = ["outbox", "pool"]


@pytest.fixture(scope="package")
def away(worker: Process) -> Iterator[None]:
    """No worker but the tests' own."""
    worker.kill()
    yield
    worker.start()


@pytest.fixture
async def scene(environment: dict[str, str], pool: Pool, tenant: str) -> AsyncIterator[Scene]:
    """A tenant with nothing in it."""
    epoch = await positions.epoch_of(pool, await log_id(BrokerSettings()))
    async with observing(pool, tenant) as seen, writing() as kafka:
        yield Scene(tenant, kafka, seen, epoch)


class Line:
    """One worker after the other, under the same name, so that each takes the place of the one before at once."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.life = Life("tests", logs)

    def next(self) -> None:
        """End this worker and start the next one."""
        self.life.end()
        self.life = Life("tests", self._logs)


@pytest.fixture(scope="module")
def line(away: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A worker that runs."""
    started = Line(tmp_path_factory.mktemp("line"))
    yield started
    started.life.end()
