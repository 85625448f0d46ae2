"""One effect for many: what is asked while an answer is on its way is asked together, next."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from streams.stage import is_outage

Asked = TypeVar("Asked")
Told = TypeVar("Told")
T = TypeVar("T")

PATIENCE_S = 0.05
"""Several times what a statement takes. One that takes longer waits for somebody's lock, and holds up nobody else."""


class Together(Generic[Asked, Told]):
    """Gathers calls where there is load, and adds no wait where there is none.

    ``ask`` answers in the order in which it is asked, all or nothing. What fails together is asked one by one, so that
    nobody fails for another's sake; only an outage is everybody's. What is asked goes on when nobody waits for it any
    more, unless ``abandons``: then it is cancelled.
    """

    def __init__(
        self, ask: Callable[[Sequence[Asked]], Coroutine[Any, Any, Sequence[Told]]], *, abandons: bool = False
    ) -> None:
        self._ask = ask
        self._abandons = abandons
        self._waiting: deque[tuple[Asked, asyncio.Future[Told]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, asked: Asked) -> Told:
        """The answer, once it is there. Raises what asking raises."""
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        while self._waiting:
            together = [(asked, answer) for asked, answer in self._waiting if not answer.done()]
            self._waiting.clear()
            asking = asyncio.create_task(self._answer(together))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            await asyncio.wait([asking], timeout=PATIENCE_S)

    async def _answer(self, together: Sequence[tuple[Asked, asyncio.Future[Told]]]) -> None:
        if not together:
            return
        asking = self._ask([asked for asked, _ in together])
        try:
            told = await (_while_awaited(asking, [answer for _, answer in together]) if self._abandons else asking)
        except asyncio.CancelledError:
            return
        except Exception as error:
            if len(together) > 1 and not is_outage(error):
                await asyncio.gather(*(self._answer([each]) for each in together if not each[1].done()))
                return
            for _, answer in together:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), each_told in zip(together, told, strict=True):
            if not answer.done():
                answer.set_result(each_told)


async def _while_awaited(work: Coroutine[Any, Any, T], answers: Sequence[asyncio.Future[Any]]) -> T:
    """Do the work, unless everybody leaves who waits for an answer: then it is cancelled."""
    task = asyncio.ensure_future(work)

    def look(_: asyncio.Future[Any]) -> None:
        if all(answer.done() for answer in answers):
            task.cancel()

    for answer in answers:
        answer.add_done_callback(look)
    return await task
