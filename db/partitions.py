"""The months of `conversation_messages`, made ahead."""

from datetime import UTC, datetime, timedelta

import asyncpg

from db.pool import Connection

MONTHS_AHEAD = 3
"""A job that fails for a whole quarter is noticed before anything lands in the default partition."""


async def ensure_months(connection: "Connection | asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the partitions of this month and the next ones that are not there yet."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(MONTHS_AHEAD + 1):
        following = (first + timedelta(days=32)).replace(day=1)
        await _ensure_month(connection, f"conversation_messages_{first:%Y_%m}", first, following)
        first = following


async def _ensure_month(
    connection: "Connection | asyncpg.Connection[asyncpg.Record]", name: str, first: datetime, following: datetime
) -> None:
    if await connection.fetchval("SELECT to_regclass($1)", name):
        return
    async with connection.transaction():
        await connection.execute("LOCK TABLE conversation_messages IN ACCESS EXCLUSIVE MODE")
        if await connection.fetchval("SELECT to_regclass($1)", name):
            return  # somebody else was first
        # Postgres makes no partition whose rows lie in the default one: they move first.
        await connection.execute(f"CREATE TABLE {name} (LIKE conversation_messages INCLUDING ALL)")
        await connection.execute(
            f"WITH moved AS (DELETE FROM conversation_messages_default WHERE created_at >= $1 AND created_at < $2 "  # noqa: S608
            f"RETURNING *) INSERT INTO {name} SELECT * FROM moved",
            first,
            following,
        )
        await connection.execute(
            f"ALTER TABLE conversation_messages ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{first.isoformat()}') TO ('{following.isoformat()}')"
        )
