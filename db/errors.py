"""What can go wrong with what is kept."""

import asyncpg

from schemas.errors import MillraceError

OUTAGES = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the pool raises where a connection broke while it was handed over
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What asyncpg raises where Postgres is away or has no room."""


class DatabaseUnavailable(MillraceError):
    """Postgres cannot be reached."""

    type = "database-unavailable"
    hint = "Is DATABASE_URL right, and the server up?"
    transient = True


class DatabaseBusy(MillraceError):
    """Too many wait for the database already."""

    type = "database-busy"
    transient = True


class DatabaseTooOld(MillraceError):
    """The database lacks something that Millrace needs."""

    type = "database-too-old"
    hint = "PostgreSQL 16 or later with pgvector 0.8 or later; `millrace migrate` brings the tables up to date."


class PositionNotReached(MillraceError):
    """The tables have not reached the requested position yet."""

    type = "position-not-reached"
    hint = "Try again; the position stays valid."
    transient = True


class BlobMissing(MillraceError):
    """The object store has no such content."""

    type = "content-missing"


class BlobsUnavailable(MillraceError):
    """The object store cannot be reached."""

    type = "blobs-unavailable"
    hint = "Is MILLRACE_BLOBS_URL right, and is there room left?"
    transient = True


class GenerationMissing(MillraceError):
    """There is no such generation of the index, or it is not in the state for that."""

    type = "generation-missing"
    hint = "`millrace reindex list` shows them."


class GenerationBehind(MillraceError):
    """The generation lacks what readers have seen already."""

    type = "generation-behind"
    hint = "Let it catch up, or --force the swap: what it lacks is then missing until it has."
    transient = True
