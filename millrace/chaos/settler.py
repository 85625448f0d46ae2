"""The settler: once the clients pause and the faults are healed, it waits for the ends and reads everything."""

import asyncio
import time
from collections.abc import Sequence

from millrace.chaos.clients import Client
from millrace.chaos.library import Document
from millrace.chaos.marks import Mark
from millrace.chaos.readers import Reads

FINAL = {"indexed", "failed", "cancelled", "deleted"}
POLL_S = 0.3
DOCUMENTS_AT_ONCE = 6


class Settler(Client):
    """The last reader of a round."""

    pause_s = POLL_S

    async def step(self) -> None:
        """It does nothing by itself."""

    async def settle(self, deadline_s: float, conversations: Sequence[tuple[str, str]]) -> list[str]:
        """Wait until what may have been written is final, then read it; what is not final at the deadline, in words."""
        deadline = time.monotonic() + deadline_s
        places = asyncio.Semaphore(DOCUMENTS_AT_ONCE)
        dirty = [document for document in self.library if document.dirty]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._settle(document, deadline, places)) for document in dirty]
        stuck = [problem for task in tasks if (problem := task.result())]
        for tenant, conversation_id in conversations:
            await Reads(self).conversation(self.doors.http(self.rng), tenant, conversation_id)
        self.doors.history.note("settled", documents=len(dirty), stuck=stuck)
        return stuck

    async def _settle(self, document: Document, deadline: float, places: asyncio.Semaphore) -> str | None:
        last = "nobody answered"
        async with places:
            while time.monotonic() < deadline:
                told = await Reads(self).status(self.doors.http(self.rng), document, document.last)
                if told and _is_final(document, told):
                    document.dirty = False
                    await self._read_all(document)
                    if document.doubtful:
                        self.library.retire(document)
                    return None
                last = str(told or last)
                await asyncio.sleep(POLL_S)
        return f"{document.tenant}/{document.document_id} is not final: {last}"

    async def _read_all(self, document: Document) -> None:
        after, reads = document.last, Reads(self)
        await reads.document(self.doors.http(self.rng), document, after)
        await reads.content(self.doors.http(self.rng), document, after)
        await reads.chunks(self.doors.http(self.rng), document, after, 200)
        if after and after.versions:
            number = self.rng.randrange(len(after.versions))
            mark = Mark(document.tenant_number, document.number, after.versions[number], number)
            await reads.search(self.doors.http(self.rng), document, after, str(mark), mode="text", limit=20)


def _is_final(document: Document, told: dict[str, object]) -> bool:
    """Whether nothing more is to come; of a document whose writes were all without an answer, none may have come."""
    if not told.get("found"):
        return True
    after = document.last
    return told["state"] in FINAL and (after is None or int(str(told["revision"])) >= after.revision)
