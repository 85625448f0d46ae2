"""The database as this version of Millrace needs it."""

import asyncio

from db import generations
from db.migrate import migrate, prepare
from db.pool import DatabaseSettings, close, connect
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder


def bring_up_to_date(database: DatabaseSettings) -> list[str]:
    """Apply the migrations that are missing, and name them; then prepare each generation for its embedder."""
    applied = migrate(database)
    asyncio.run(_prepare_all(database))
    return applied


async def _prepare_all(database: DatabaseSettings) -> None:
    pool = await connect(database)
    existing = await generations.listed(pool)
    await close(pool)
    for generation in existing:
        if generation.state.served:
            embedder = create_embedder(EmbedderSettings(**generation.embedder))
            await prepare(database, embedder.name, embedder.dimensions, generation.number)
            await embedder.aclose()
