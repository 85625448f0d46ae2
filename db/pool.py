"""Connections to Postgres: pooled, limited, timed, with the types that the tables use."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import asyncpg.pool
import orjson
from pgvector.asyncpg import register_vector
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.errors import DatabaseBusy, DatabaseTooOld, DatabaseUnavailable
from schemas.topics import FIRST_GENERATION

CONNECT_TIMEOUT_S = 10
ACQUIRE_TIMEOUT_S = 10
"""For a connection to come free, or to be made; asyncpg itself would wait for ever."""
CANCEL_TIMEOUT_S = 5
"""How much longer than the server the client waits: the server's own cancelling keeps the connection."""
SCANNED_CHUNKS_MAX = 1_000_000
SCAN_MEMORY_MULTIPLIER = 32
"""Of work_mem (4 MB by default): what a scan over so many chunks may take."""


class DatabaseSettings(BaseSettings):
    """How to reach Postgres."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_DATABASE_", frozen=True)

    url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@127.0.0.1:5432/millrace"),
        validation_alias="DATABASE_URL",
        description="Postgres, as postgresql://user:password@host:port/database.",
    )
    pool_size: int = Field(default=8, ge=1, description="Connections that one process may hold.")
    statement_timeout_s: float = Field(default=30, gt=0, description="Seconds that one statement may take.")


# These classes are generic for the type checker alone.
if TYPE_CHECKING:
    _AnyPool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    _AnyPool = asyncpg.Pool
    Connection = asyncpg.pool.PoolConnectionProxy


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        """Nothing: what is set here, is set for a transaction; to undo nothing would be a round trip each time."""
        return ""


class Pool(_AnyPool):
    """A pool whose connections come within `ACQUIRE_TIMEOUT_S`, else it raises TimeoutError: one of `OUTAGES`.

    Where ``waiting_max`` wait already, it raises `DatabaseBusy` at once.
    """

    waiting_max: int | None = None
    _asking = 0

    @property
    def waiting(self) -> int:
        """How many wait for a connection that somebody else has."""
        free = self.get_max_size() - self.get_size() + self.get_idle_size()
        return max(0, self._asking - free)

    def refuse_if_busy(self) -> None:
        """Raises `DatabaseBusy` where no more may wait."""
        if self.waiting_max is not None and self.waiting >= self.waiting_max:
            raise DatabaseBusy(f"{self.waiting} are waiting.")

    def acquire(self, *, timeout: float | None = None) -> "asyncpg.pool.PoolAcquireContext[asyncpg.Record]":
        """A connection; the pool's own methods ask for theirs here, too."""
        return super().acquire(timeout=ACQUIRE_TIMEOUT_S if timeout is None else timeout)

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 (it is the pool's own)
        """Where every way to a connection leads."""
        self.refuse_if_busy()
        self._asking += 1
        try:
            return await super()._acquire(timeout)  # type: ignore[misc]
        finally:
            self._asking -= 1


async def connect(
    settings: DatabaseSettings, generation: int = FIRST_GENERATION, *, waiting_max: int | None = None
) -> Pool:
    """Open a pool whose statements see one index generation, and what all generations share.

    Where ``waiting_max`` wait for a connection, others are refused. Raises `DatabaseUnavailable`, or `DatabaseTooOld`
    where the vector type is missing.
    """
    try:
        pool = await Pool(
            settings.url.get_secret_value(),
            min_size=1,
            max_size=settings.pool_size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300,
            loop=None,
            connection_class=_Connection,
            record_class=asyncpg.Record,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=settings.statement_timeout_s + CANCEL_TIMEOUT_S,
            init=_prepare_connection,
            server_settings={
                "application_name": "millrace",
                "search_path": search_path(generation),
                "statement_timeout": str(round(settings.statement_timeout_s * 1_000)),
                "idle_in_transaction_session_timeout": str(round(settings.statement_timeout_s * 2_000)),
                # An index scan goes on until enough rows pass the filters, instead of answering with too few: a small
                # tenant's vectors may lie behind a great many of others'.
                "hnsw.iterative_scan": "strict_order",
                "hnsw.max_scan_tuples": str(SCANNED_CHUNKS_MAX),
                "hnsw.scan_mem_multiplier": str(SCAN_MEMORY_MULTIPLIER),
                # Compiling a search over many rows takes longer than the search.
                "jit": "off",
            },
        )
    except ValueError as error:
        raise DatabaseTooOld(str(error)) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error
    pool.waiting_max = waiting_max
    return pool


def search_path(generation: int) -> str:
    """Where unqualified names lead. What is made anew by such a name is made for all generations."""
    return f"public, g{generation}"


async def close(pool: Pool) -> None:
    """Close a pool, giving running statements a moment to end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await pool.close()
            return
    pool.terminate()


async def _prepare_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await register_vector(connection)
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + orjson.dumps(value)


def _decode_jsonb(value: bytes) -> Any:
    return orjson.loads(value[1:])
