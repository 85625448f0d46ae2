"""What stages write with: a real producer and the session's database."""

from collections.abc import AsyncIterator

import pytest

from db.blobs import Blobs, BlobSettings
from db.pool import Pool
from schemas.broker import BrokerSettings
from schemas.producer import Producer
from streams.outbox import Outbox
from tests.db.conftest import pool

__all__ = ["outbox", "pool"]


@pytest.fixture(scope="session")
async def outbox(environment: dict[str, str], pool: Pool) -> AsyncIterator[Outbox]:
    """An outbox as a worker has it."""
    kafka = Producer(BrokerSettings())
    await kafka.start()
    yield Outbox(kafka, pool, Blobs(BlobSettings()))
    await kafka.stop()
