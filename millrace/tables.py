"""The database as this version of Millrace needs it."""

import asyncio

from db.migrate import migrate, prepare
from db.pool import DatabaseSettings


def bring_up_to_date(database: DatabaseSettings) -> list[str]:
    """Apply the migrations that are missing, and name them; then prepare what they leave to be made again and again."""
    applied = migrate(database)
    asyncio.run(prepare(database))
    return applied
