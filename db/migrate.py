"""Brings a database's tables up to date: the SQL files of `db/migrations`, each applied once, by yoyo."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
from yoyo import get_backend, read_migrations

from db.errors import DatabaseTooOld, DatabaseUnavailable
from db.partitions import ensure_months
from db.pool import CONNECT_TIMEOUT_S, DatabaseSettings

MIGRATIONS = Path(__file__).parent / "migrations"
POSTGRES_MIN = 160_000
PGVECTOR_MIN = (0, 8)
LOCK_KEY = 0x6D696C6C72616365
"""Of the advisory lock: "millrace"."""
LOCK_TIMEOUT_S = 60


def migrate(settings: DatabaseSettings) -> list[str]:
    """Apply what is missing and name it. Safe to run from several processes at once: the second waits."""
    url = settings.url.get_secret_value()
    logging.getLogger("yoyo.migrations").setLevel(logging.WARNING)
    try:
        with _alone(url):
            backend = get_backend(urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg")))
            backend.break_lock()
            missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
            backend.apply_migrations(missing)
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable("another migration holds the lock.") from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(str(error).strip()) from error
    return [migration.id for migration in missing]


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Hold a lock that Postgres lets go when this process ends, however it ends; yoyo's own would stay for ever."""
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        yield


async def prepare(settings: DatabaseSettings) -> None:
    """Check the server's versions and make the coming months' partitions."""
    connection = await asyncpg.connect(settings.url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    try:
        version = connection.get_server_version()
        if version.major * 10_000 < POSTGRES_MIN:
            raise DatabaseTooOld(f"PostgreSQL {version.major}.")
        pgvector = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if pgvector is None or tuple(int(part) for part in pgvector.split(".")[:2]) < PGVECTOR_MIN:
            raise DatabaseTooOld(f"pgvector {pgvector or 'is missing'}.")
        # IF NOT EXISTS does not keep two from making the same thing at once.
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        await ensure_months(connection)
    finally:
        await connection.close()
