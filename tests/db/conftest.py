"""Connections to the session's database, and databases that a test may spoil."""

import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from db import generations
from db.pool import DatabaseSettings, Pool, close, connect

FIRST_NUMBER = 900_000
"""Of generations that only tests make; the worker of the session does not know of them, so nobody else tends them."""
numbers = iter(range(FIRST_NUMBER, 2**31))


@pytest.fixture(scope="session")
async def pool(environment: dict[str, str]) -> AsyncIterator[Pool]:
    """A pool as the gateway and the workers have it."""
    opened = await connect(DatabaseSettings())
    yield opened
    await close(opened)


@pytest.fixture
async def alone(pool: Pool) -> AsyncIterator[Pool]:
    """The tables of a generation that nobody but the test fills and tends."""
    number = next(numbers)
    await generations.create_tables(pool, number)
    opened = await connect(DatabaseSettings(), number)
    yield opened
    await close(opened)
    await pool.execute(f"DROP SCHEMA g{number} CASCADE")


@pytest.fixture
def empty_database(database_url: str) -> Iterator[DatabaseSettings]:
    """A database of its own, with nothing in it."""
    name = f"scratch_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    yield DatabaseSettings.model_validate({"DATABASE_URL": url})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
