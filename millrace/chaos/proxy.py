"""The network between the parts: a TCP proxy in front of a server, which can be slow, silent or cut."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from millrace.local.ports import HOST

CHUNK_BYTES = 16_384
"""So little that a throttled connection trickles rather than comes in bursts."""

Affects = Callable[[int], bool]
"""Whether the client on this port is concerned."""


@dataclass(frozen=True, slots=True)
class Network:
    """What a connection goes through.

    A silent direction carries nothing, and neither end is told; what was sent meanwhile arrives once it is over, as it
    would by TCP's own repeating. A cut closes what is open and refuses what is new.
    """

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    silent_to_server: bool = False
    silent_to_client: bool = False
    cut: bool = False


CLEAR = Network()


def _everybody(_: int) -> bool:
    return True


class Proxy:
    """Listens on ``port`` and passes everything on to ``server_port``, both on this machine."""

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self._server_port = server_port
        self._imposed: list[tuple[Network, Affects]] = []
        self._connections: set[_Connection] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the context lasts. Raises OSError if the port is taken."""
        server = await asyncio.start_server(self._serve, HOST, self.port, limit=CHUNK_BYTES)
        try:
            yield
        finally:
            server.close()
            for connection in list(self._connections):
                connection.abort()

    @contextmanager
    def imposing(self, network: Network, affects: Affects | None = None) -> Iterator[None]:
        """Let the connections that are concerned, also new ones, go through this while the context lasts.

        The newest that concerns a connection holds for it.
        """
        entry = (network, affects or _everybody)
        self._imposed.append(entry)
        self._apply()
        try:
            yield
        finally:
            self._imposed.remove(entry)
            self._apply()

    def _apply(self) -> None:
        for connection in list(self._connections):
            connection.go_through(self._network_of(connection.client_port))

    def _network_of(self, client_port: int) -> Network:
        return next((network for network, affects in reversed(self._imposed) if affects(client_port)), CLEAR)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        connection.go_through(self._network_of(connection.client_port))
        self._connections.add(connection)
        try:
            if not connection.network.cut:
                await connection.run(reader, self._server_port)
        finally:
            connection.abort()
            self._connections.discard(connection)


class _Connection:
    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client_port: int = client.get_extra_info("peername")[1]
        self.network = CLEAR
        self._writers = [client]
        self._changed = asyncio.Event()

    def go_through(self, network: Network) -> None:
        self.network = network
        self._changed.set()
        self._changed = asyncio.Event()
        if network.cut:
            self.abort()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def run(self, from_client: asyncio.StreamReader, server_port: int) -> None:
        """Carry both directions until both ended, or one broke."""
        with suppress(OSError):
            from_server, to_server = await asyncio.open_connection(HOST, server_port, limit=CHUNK_BYTES)
            (to_client,) = self._writers
            self._writers.append(to_server)
            directions = [
                asyncio.create_task(self._carry(from_client, to_server, lambda network: network.silent_to_server)),
                asyncio.create_task(self._carry(from_server, to_client, lambda network: network.silent_to_client)),
            ]
            try:
                await asyncio.gather(*directions)
            finally:
                for direction in directions:
                    direction.cancel()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: Callable[[Network], bool]
    ) -> None:
        while True:
            data = await reader.read(CHUNK_BYTES)
            while silent(self.network):
                await self._changed.wait()
            network = self.network
            if pause_s := network.delay_s + (len(data) / network.bytes_per_s if network.bytes_per_s else 0):
                await asyncio.sleep(pause_s)
            if not data:
                if not writer.transport.is_closing():
                    writer.write_eof()
                return
            if writer.transport.is_closing():
                return
            writer.write(data)
            await writer.drain()
