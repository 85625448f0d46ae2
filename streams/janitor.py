"""The job that finishes what a process could not that ended between a commit and what follows from it."""

import asyncio

import structlog

from db import blob_uses
from db.blobs import Blobs
from db.errors import BlobsUnavailable
from db.pool import Pool
from streams.outbox import Outbox
from streams.stage import OUTAGES

log = structlog.get_logger()

EVERY_S = 15
"""Whoever commits does it at once; this is only for what was cut short."""


async def keep_tidy(outbox: Outbox, pool: Pool, blobs: Blobs) -> None:
    """Publish letters and delete blobs that were left behind, now and again and again."""
    while True:
        try:
            letters = await outbox.publish_letters()
            swept = await blob_uses.sweep(pool, blobs, derived_only=not await outbox.standing.is_live())
            if letters or swept:
                log.info("tidied up", letters=letters, blobs=swept)
        except (*OUTAGES, BlobsUnavailable) as error:
            log.warning("not tidied up", error=repr(error))
        await asyncio.sleep(EVERY_S)
