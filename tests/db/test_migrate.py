"""Migrations: applied once, by however many processes, and taken back by their rollback files."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from yoyo import get_backend, read_migrations

from db.errors import DatabaseTooOld, DatabaseUnavailable
from db.migrate import MIGRATIONS, migrate, prepare
from db.partitions import MONTHS_AHEAD
from db.pool import DatabaseSettings, Pool, connect

AT_ONCE = 4
MIGRATION_IDS = sorted(path.stem for path in MIGRATIONS.glob("*.sql") if ".rollback" not in path.name)


def tables(settings: DatabaseSettings) -> set[str]:
    with psycopg.connect(settings.url.get_secret_value()) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relkind IN ('r', 'p', 'v') AND (nspname = 'public' OR nspname ~ '^g[0-9]+$')"
        )
        return {str(name) for (name,) in rows if "yoyo" not in name}


def test_applies_what_is_missing_once(empty_database: DatabaseSettings) -> None:
    assert migrate(empty_database) == MIGRATION_IDS
    assert {"documents", "document_chunks", "conversation_messages", "generations"} <= tables(empty_database)
    assert migrate(empty_database) == []


def test_several_at_once_apply_it_once(empty_database: DatabaseSettings) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        applied = list(threads.map(lambda _: migrate(empty_database), range(AT_ONCE)))
    assert sorted(applied) == [[]] * (AT_ONCE - 1) + [MIGRATION_IDS]


def test_one_that_was_killed_does_not_lock_out_the_next(empty_database: DatabaseSettings) -> None:
    # Ends in the moment between taking the lock and the first migration.
    program = (
        "import os, db.migrate as m; m.read_migrations = lambda _: os.kill(os.getpid(), 9); "
        "m.migrate(m.DatabaseSettings())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"DATABASE_URL": empty_database.url.get_secret_value()}, check=False
    )
    assert ended.returncode == -9
    assert migrate(empty_database) == MIGRATION_IDS


def test_the_rollback_takes_everything_back(empty_database: DatabaseSettings) -> None:
    migrate(empty_database)
    backend = get_backend(empty_database.url.get_secret_value().replace("postgresql", "postgresql+psycopg", 1))
    with backend.lock():
        backend.rollback_migrations(backend.to_rollback(read_migrations(str(MIGRATIONS))))
    assert tables(empty_database) == set()
    assert migrate(empty_database) == MIGRATION_IDS


def test_a_server_that_is_away_is_named() -> None:
    nowhere = DatabaseSettings.model_validate({"DATABASE_URL": "postgresql://postgres:hush@127.0.0.1:1/millrace"})
    with pytest.raises(DatabaseUnavailable) as caught:
        migrate(nowhere)
    assert "hush" not in str(caught.value)


async def test_several_prepare_at_once(empty_database: DatabaseSettings) -> None:
    migrate(empty_database)
    await asyncio.gather(*(prepare(empty_database) for _ in range(AT_ONCE)))
    await prepare(empty_database)
    with psycopg.connect(empty_database.url.get_secret_value()) as connection:
        months = connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^conversation_messages_[0-9_]+$'")
        assert months.fetchall() == [(1 + MONTHS_AHEAD,)]


async def test_a_database_without_the_vector_type_is_too_old(empty_database: DatabaseSettings) -> None:
    with pytest.raises(DatabaseTooOld):
        await connect(empty_database)
    with pytest.raises(DatabaseTooOld):
        await prepare(empty_database)


async def test_every_primary_key_starts_with_the_tenant(pool: Pool) -> None:
    rows = await pool.fetch(
        """
        SELECT c.relname AS name, a.attname AS first_column
        FROM pg_class c
        LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text ~ '^(public|g[0-9]+)$'
          AND c.relname !~ 'yoyo'
        """
    )
    assert len(rows) > 10
    assert {row["name"]: row["first_column"] for row in rows if row["first_column"] != "tenant_id"} == {}
