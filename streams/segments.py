"""The job that seals, indexes and merges the segments of a generation's vectors, beside the stage that fills them."""

import asyncio
import time

import structlog

from db.pool import DatabaseSettings, close, connect
from db.segments import merge_pending_words, rewrite_wasteful, tend
from streams.stage import OUTAGES

log = structlog.get_logger()

EVERY_S = 0.5
"""Where nothing was due. A segment fills in seconds at best."""
WASTE_EVERY_S = 60.0
"""Waste is looked for in all documents, and grows slowly."""
WORDS_EVERY_S = 5.0
"""Under load the text index does it itself more often, and in bulk it is far cheaper."""
PATIENCE_S = 3_600.0
"""The largest index that fits into a server's memory is built within."""


async def keep_segments(database: DatabaseSettings, generation: int) -> None:
    """Do what is due, one thing at a time and in one of the workers, again and again."""
    settings = database.model_copy(update={"pool_size": 1, "statement_timeout_s": PATIENCE_S})
    pool = await connect(settings, generation)
    looked = words_merged = time.monotonic()
    try:
        while True:
            busy = False
            try:
                busy = await tend(pool)
                if not busy and time.monotonic() - words_merged > WORDS_EVERY_S:
                    await merge_pending_words(pool)
                    words_merged = time.monotonic()
                if not busy and time.monotonic() - looked > WASTE_EVERY_S:
                    looked = time.monotonic()
                    busy = await rewrite_wasteful(pool)
            except OUTAGES as error:
                log.warning("segments not tended", error=repr(error))
            if not busy:
                await asyncio.sleep(EVERY_S)
    finally:
        await close(pool)
