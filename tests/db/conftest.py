"""Connections to the session's database, and databases that a test may spoil."""

import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from db.pool import DatabaseSettings, Pool, close, connect


@pytest.fixture(scope="session")
async def pool(environment: dict[str, str]) -> AsyncIterator[Pool]:
    """A pool as the gateway and the workers have it."""
    opened = await connect(DatabaseSettings())
    yield opened
    await close(opened)


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
