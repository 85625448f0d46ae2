"""The job that makes the coming months' partitions of the conversations, beside the stage that writes them."""

import asyncio

import structlog

from db.partitions import ensure_months
from db.pool import Pool
from streams.stage import OUTAGES

log = structlog.get_logger()

EVERY_S = 86_400
"""Months are made well ahead, so a day's outage does not matter."""


async def keep_months_ahead(pool: Pool) -> None:
    """Make them now and every day."""
    while True:
        try:
            async with pool.acquire() as connection:
                await ensure_months(connection)
        except OUTAGES as error:
            log.warning("months not made", error=repr(error))
        await asyncio.sleep(EVERY_S)
