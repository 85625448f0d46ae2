"""What a generation of the index does with records that another one has dealt with: the same, and not before it.

A generation that is not live follows the live one: it takes a record up once that has settled it, and makes nothing of
what came to nothing there. So it never knows of anything that readers have not seen yet, and a rebuild, which meets old
cancellations and deletions at once, ends with the same documents. A live one that took over before it had caught up
follows its predecessor the same way, but does not wait.
"""

import asyncio

import asyncpg

from db.generations import Standing
from db.pool import Pool
from db.succession import outcome
from schemas.broker import BrokerSettings
from schemas.errors import MillraceError
from schemas.events import DocumentEvent
from schemas.groups import committed
from schemas.topics import GROUP_OF_STAGE, group_of
from streams.record import Record

POLL_FIRST_S, POLL_GROWTH, POLL_MAX_S = 0.02, 1.5, 0.5
"""Short enough that what readers see and what is kept beside it stay close; long enough to wait out an outage."""


class Unsettled(Exception):
    """The live generation has not settled a record yet."""


class Cancelled(MillraceError):
    """It was cancelled before it was done."""

    type = "cancelled"


class Superseded(MillraceError):
    """Something newer was submitted meanwhile."""

    type = "superseded"


class Precedent:
    """What the generation that this one follows has made of the records of ``documents.submitted``."""

    def __init__(self, pool: Pool, standing: Standing) -> None:
        self._pool = pool
        self._standing = standing

    async def of(self, event: DocumentEvent, position: int, *, wait: bool = True) -> asyncpg.Record | None:
        """How an event was settled, once it is (see `db.succession.outcome`); None where this generation is first.

        Raises `Unsettled` where it would have to ``wait`` and must not.
        """
        pause_s = POLL_FIRST_S
        while (leader := await self._standing.leader()) is not None:
            settled = await outcome(self._pool, leader, event.tenant_id, event.document_id, position)
            if settled or await self._standing.is_live():
                return settled
            if not wait:
                raise Unsettled
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_GROWTH * pause_s, POLL_MAX_S)
        return None

    async def binds(self, event: DocumentEvent, position: int) -> bool:
        """Whether another generation settles this event first, or has done so."""
        self._standing.look_again()
        leader = await self._standing.leader()
        if leader is None:
            return False
        return not await self._standing.is_live() or bool(
            await outcome(self._pool, leader, event.tenant_id, event.document_id, position)
        )

    async def passed(self, record: Record) -> bool:
        """Wait until the live generation is past a record that is no document's, or this one is live: then false."""
        pause_s = POLL_FIRST_S
        while not await self._standing.is_live():
            leader = await self._standing.leader()
            [stage] = [name for name, (_, topic) in GROUP_OF_STAGE.items() if topic.name == record.topic]
            if leader is not None and record.offset < await committed(
                BrokerSettings(), group_of(stage, leader), record.topic, record.partition
            ):
                return True
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_GROWTH * pause_s, POLL_MAX_S)
        return False


def ended(settled: asyncpg.Record | None) -> MillraceError | None:
    """Why nothing comes of what was settled so."""
    if settled is None:
        return None
    if settled["superseded"]:
        return Superseded()
    return Cancelled() if settled["cancelled"] else None
