import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psutil
import pytest

from millrace.local import Home, LocalPostgres
from millrace.local.account import Account, FolderClosed, namespace_account, system_account
from millrace.local.lock import AlreadyRunning
from millrace.local.ports import HOST, PortInUse, free_port


@pytest.fixture
def open_home() -> Iterator[Home]:
    """One that another account can enter, as pytest's own folders cannot be."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    yield Home(root / "home")
    shutil.rmtree(root)


async def test_what_was_committed_is_kept_over_stop_and_kill(home: Home, is_gone: Callable[[int], bool]) -> None:
    with LocalPostgres(home) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE TABLE kept (at text)")
        await connection.execute("INSERT INTO kept VALUES ('before stop')")
        await connection.close()

    postgres = LocalPostgres(home).start()
    assert postgres.pid
    processes = [postgres.pid, *(child.pid for child in psutil.Process(postgres.pid).children(recursive=True))]
    assert len(processes) > 3
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("INSERT INTO kept VALUES ('before kill')")
    postgres.kill()
    assert all(is_gone(pid) for pid in processes)
    connection.terminate()

    with LocalPostgres(home) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        assert [row["at"] for row in await connection.fetch("SELECT at FROM kept")] == ["before stop", "before kill"]
        await connection.close()


async def test_it_is_durable_knows_vectors_and_lowers_every_alphabet(home: Home) -> None:
    port = free_port()
    with LocalPostgres(home, port) as postgres:
        assert postgres.dsn == f"postgresql://postgres@127.0.0.1:{port}/millrace"
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE EXTENSION vector")
        assert await connection.fetchval("SELECT '[1,0]'::halfvec <=> '[0,1]'::halfvec") == 1.0
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SELECT to_tsvector('simple', 'ÄRGER Ωmega') @@ 'ärger & ωmega'::tsquery")
        await connection.close()


async def test_a_first_start_that_was_killed_half_way_is_begun_again(home: Home) -> None:
    home.prepare()
    (home.postgres / "data.new").mkdir()
    (home.postgres / "data.new" / "PG_VERSION").write_text("18")
    with LocalPostgres(home) as postgres:
        await (await asyncpg.connect(postgres.dsn)).close()


def test_only_one_of_two_at_once_gets_it(home: Home) -> None:
    local = LocalPostgres(home), LocalPostgres(home)
    with ThreadPoolExecutor(2) as pool:
        outcomes = [future.exception() for future in [pool.submit(postgres.start) for postgres in local]]
    local[outcomes.index(None)].stop()
    (refused,) = (error for error in outcomes if error is not None)
    assert isinstance(refused, AlreadyRunning)


def test_a_port_in_use_is_said_and_the_folder_left_free(home: Home) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        local = LocalPostgres(home, port)
        for _ in range(2):
            with pytest.raises(PortInUse, match=f"Postgres needs 127.0.0.1:{port}"):
                local.start()


async def test_every_account_that_can_run_it_takes_over_the_folder_of_the_one_before(open_home: Home) -> None:
    """As root: a user namespace where the system allows it, and a system account; else ourselves."""
    is_root = os.geteuid() == 0
    accounts = [namespace_account() or system_account(), system_account()] if is_root else [Account()]
    for account in [*accounts, accounts[0]]:
        with LocalPostgres(open_home, account=account) as postgres:
            await (await asyncpg.connect(postgres.dsn)).close()


def test_a_folder_that_the_account_cannot_enter_is_named(tmp_path: Path) -> None:
    account = system_account() if os.geteuid() == 0 else Account()
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0)
    with pytest.raises(FolderClosed, match="It is /"):
        account.require_reach(inner)
    inner.parent.chmod(0o700)
