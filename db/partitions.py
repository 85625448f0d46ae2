"""The months of `conversation_messages`, made ahead."""

from datetime import UTC, datetime, timedelta

import asyncpg

from db.pool import Connection

MONTHS_AHEAD = 3
"""A job that fails for a whole quarter is noticed before anything lands in the default partition."""


async def ensure_months(connection: "Connection | asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the partitions of this month and the next ones."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(MONTHS_AHEAD + 1):
        following = (first + timedelta(days=32)).replace(day=1)
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS conversation_messages_{first:%Y_%m} PARTITION OF conversation_messages "
            f"FOR VALUES FROM ('{first.isoformat()}') TO ('{following.isoformat()}')"
        )
        first = following
