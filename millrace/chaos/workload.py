"""The workload: clients of every kind on two gateways and Kafka, paused, settled and observed at the runner's word."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from millrace.chaos.clients import Client, Doors
from millrace.chaos.doors import HttpDoor, KafkaDoor
from millrace.chaos.history import History
from millrace.chaos.library import Library
from millrace.chaos.observer import Observer
from millrace.chaos.readers import Chatter, readers
from millrace.chaos.settler import Settler
from millrace.chaos.writers import writers


class Workload:
    """A small, steady load, all of whose choices follow from ``seed``; ``kafka``: bootstrap servers.

    About 7 writes and 15 reads a second, while the gateways are quick.
    """

    def __init__(self, gateways: Sequence[str], kafka: str, history: History, seed: int) -> None:
        self._gateways = gateways
        self._kafka = kafka
        self._history = history
        self._seed = seed
        self._library = Library(seed)
        self._observer = Observer(kafka, history, {document.tenant for document in self._library})
        self._may_go = asyncio.Event()
        self._idle: list[asyncio.Event] = []
        self._clients: list[Client] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clients while the context lasts. Raises what a client's own mistake raises."""
        async with AsyncExitStack() as stack:
            gateways = [HttpDoor(url, self._history) for url in self._gateways]
            for gateway in gateways:
                stack.push_async_callback(gateway.aclose)
            kafka = await stack.enter_async_context(KafkaDoor.open(self._kafka))
            doors = Doors(self._history, gateways, kafka)
            self._clients = [
                *writers(doors, self._library, self._seed),
                *readers(doors, self._library, self._seed),
            ]
            self._settler = Settler("settler", doors, self._library, random.Random(self._seed))  # noqa: S311
            self.resume()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._run(client), name=client.name) for client in self._clients]
                yield
                for task in tasks:
                    task.cancel()

    async def pause(self) -> None:
        """Return once no client has anything under way: at the latest when its request has timed out."""
        self._may_go.clear()
        await asyncio.gather(*(idle.wait() for idle in self._idle))

    def resume(self) -> None:
        """Let the clients go on."""
        self._may_go.set()

    async def settle(self, deadline_s: float) -> list[str]:
        """Wait until every acknowledged write is final, and read all of it; what is not at the deadline, in words.

        The clients must be paused, and the faults healed.
        """
        conversations = {
            pair for client in self._clients if isinstance(client, Chatter) for pair in client.take_conversations()
        }
        return await self._settler.settle(deadline_s, sorted(conversations))

    async def observe(self, database_url: str, blobs_url: str) -> None:
        """Record what is stored: rows, blobs, and what the topics told since the last observation."""
        await self._observer.observe(database_url, blobs_url)

    async def _run(self, client: Client) -> None:
        idle = asyncio.Event()
        idle.set()
        self._idle.append(idle)
        await client.run(self._may_go, idle)
