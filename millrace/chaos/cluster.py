"""A cluster of real parts on this machine, for as long as a context lasts."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import asyncpg

from millrace.chaos.clock import Clocks
from millrace.chaos.disk import Disk
from millrace.chaos.parts import Command, Part, Server
from millrace.chaos.proxy import Affects, Proxy
from millrace.local.home import Home
from millrace.local.kafka import LocalKafka, Seat, new_cluster_id
from millrace.local.ports import HOST, free_port
from millrace.local.postgres import LocalPostgres
from millrace.local.process import Child
from schemas.errors import MillraceError
from schemas.topics import GROUP_OF_STAGE

STAGES = tuple(GROUP_OF_STAGE)
BROKERS = tuple(f"broker-{number}" for number in (1, 2, 3))
WORKERS = tuple(f"{stage}-{number}" for stage in STAGES for number in (1, 2))
GATEWAYS = ("gateway-1", "gateway-2")
PARTS = (*WORKERS, *GATEWAYS, *BROKERS, "postgres")
LINKS = ("postgres", *BROKERS, *(f"peers-of-{broker}" for broker in BROKERS))
"""What has a proxy in front: a server for its clients, and a broker for the other brokers."""

MILLRACE = (sys.executable, "-m", "millrace")
LOOK_EVERY_S = 0.2
RESTART_PAUSE_S = 1.0
"""Between a process's end and its restart, as an orchestrator takes it."""
SET_UP_DEADLINE_S = 300
BROKER_HEAP_MIB = 256
BLOBS_BYTES = 256 << 20
POSTGRES_BYTES = 768 << 20
"""A new database takes 50 MB; the rest is for rows and WAL."""
SMALL_WAL = ("max_wal_size = '96MB'", "min_wal_size = '32MB'")
SMALL_PARTS = {
    # A machine with two cores holds ten of them.
    "MILLRACE_DATABASE_POOL_SIZE": "4",
    "MILLRACE_WORKER_PARSE_PROCESSES": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # The least that is allowed, so that a round need not wait for a dead worker's partitions.
    "MILLRACE_WORKER_SESSION_TIMEOUT_S": "6",
    "MILLRACE_KAFKA_REPLICATION_FACTOR": "3",
    "PYTHONUNBUFFERED": "1",
}
OWN_PREFIXES = ("MILLRACE_", "KAFKA_", "DATABASE_URL")


class Note(Protocol):
    """Where happenings are written down."""

    def __call__(self, kind: str, /, **data: object) -> object:
        """One happening."""


class NotReady(MillraceError):
    """Parts of the cluster do not come up, or not again."""

    type = "not-ready"


class Cluster:
    """Three brokers, Postgres, two workers of each stage and two gateways, with proxies between them.

    All it keeps is in ``folder``. ``millrace`` is the command line that the workers and gateways are made of.
    """

    def __init__(self, folder: Path, note: Note, *, libs: Path, millrace: Sequence[str] = MILLRACE) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.proxies: dict[str, Proxy] = {}
        self.disks = {
            "blobs": Disk(folder / "blobs", BLOBS_BYTES),
            "postgres": Disk(folder / "postgres", POSTGRES_BYTES),
        }
        self.clocks = Clocks(folder)
        self._note = note
        self._libs = libs
        self._millrace = millrace
        self._keepers: dict[str, asyncio.Task[None]] = {}
        # Starting a server takes a thread until it answers, and all may be starting at once.
        self._threads = ThreadPoolExecutor(len(PARTS) + 4, thread_name_prefix="chaos")

    @property
    def kafka(self) -> str:
        """The brokers, as clients are told them."""
        return ",".join(f"{HOST}:{self.proxies[broker].port}" for broker in BROKERS)

    @property
    def gateways(self) -> list[str]:
        """Base URLs."""
        return [f"http://{HOST}:{self._ports[gateway]}" for gateway in GATEWAYS]

    @property
    def database_url(self) -> str:
        """Postgres itself, past the proxy."""
        return self._postgres.dsn

    @property
    def blobs(self) -> Path:
        """The object store's folder."""
        return self.disks["blobs"].folder

    def of_kind(self, kind: str) -> list[Part]:
        """The parts that are there now of ``broker``, ``postgres``, ``gateway`` or a stage."""
        return [part for part in self.parts.values() if part.kind == kind]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything and keep it running while the context lasts. Raises what the parts raise, and `NotReady`."""
        async with AsyncExitStack() as stack:
            self._assign_ports()
            self.clocks.prepare()
            for disk in self.disks.values():
                stack.enter_context(disk.mounted())
            for proxy in self.proxies.values():
                await stack.enter_async_context(proxy.running())
            stack.push_async_callback(self.stop)
            await self._start_servers()
            await self._set_up()
            for name in (*WORKERS, *GATEWAYS):
                await self.add(self._command(name))
            await self.until_ready(SET_UP_DEADLINE_S)
            yield

    async def until_ready(self, deadline_s: float, parts: Sequence[Part] | None = None) -> None:
        """Return once these parts, or all, run and are ready. Raises `NotReady` with those that are not by then."""
        deadline = time.monotonic() + deadline_s
        while ailing := await self._ailing(parts or list(self.parts.values())):
            if time.monotonic() > deadline:
                raise NotReady(f"After {deadline_s:g} s: {', '.join(ailing)}; logs: {self.folder / 'logs'}.")
            await asyncio.sleep(LOOK_EVERY_S)

    async def run(self, work: Callable[[], None]) -> None:
        """Do blocking work on a part in a thread."""
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @asynccontextmanager
    async def joined(self, stage: str) -> AsyncIterator[None]:
        """One more worker of a stage while the context lasts; it leaves in order."""
        name = f"{stage}-3"
        self._ports[name] = free_port()
        await self.add(self._command(name))
        try:
            yield
        finally:
            self._keepers.pop(name).cancel()
            await self.run(self.parts.pop(name).stop)

    def belongs_to(self, name: str) -> Affects:
        """Whether a client's port is one of this part's, also after it was started again."""
        return lambda port: name in self.parts and port in self.parts[name].client_ports()

    async def _ailing(self, parts: Sequence[Part]) -> list[str]:
        loop = asyncio.get_running_loop()
        ready = await asyncio.gather(*(loop.run_in_executor(self._threads, part.is_ready) for part in parts))
        return [part.name for part, is_ready in zip(parts, ready, strict=True) if not is_ready]

    def _assign_ports(self) -> None:
        self._ports = {name: free_port() for name in (*WORKERS, *GATEWAYS)}
        home = Home(self.folder, libs=self._libs, min_free_bytes=0)
        self._postgres = LocalPostgres(home, free_port())
        self.proxies["postgres"] = Proxy(free_port(), self._postgres.port)
        cluster_id = new_cluster_id()
        controller_ports = {number: free_port() for number in range(1, len(BROKERS) + 1)}
        self._brokers: dict[str, LocalKafka] = {}
        for number, name in enumerate(BROKERS, 1):
            port, peers_port = free_port(), free_port()
            clients, peers = Proxy(free_port(), port), Proxy(free_port(), peers_port)
            seat = Seat(number, cluster_id, controller_ports, clients.port, peers.port, peers_port)
            home = Home(self.folder / name, libs=self._libs, min_free_bytes=0)
            self._brokers[name] = LocalKafka(home, port, seat=seat, heap_mib=BROKER_HEAP_MIB)
            self.proxies |= {name: clients, f"peers-of-{name}": peers}

    async def _start_servers(self) -> None:
        servers = [Server(name, "broker", broker) for name, broker in self._brokers.items()]
        await asyncio.gather(*(self.add(part) for part in (*servers, Server("postgres", "postgres", self._postgres))))

    async def _set_up(self) -> None:
        database = await asyncpg.connect(self.database_url)
        try:
            for setting in SMALL_WAL:
                await database.execute(f"ALTER SYSTEM SET {setting}")
            await database.execute("SELECT pg_reload_conf()")
        finally:
            await database.close()
        await asyncio.gather(*(self.run(partial(self._run_command, name)) for name in ("migrate", "topics")))

    def _run_command(self, name: str) -> None:
        command = Child(name, [*MILLRACE, name], logs=self._logs, env=self._environment())
        command.wait_until(lambda: command.exit_code == 0, deadline_s=SET_UP_DEADLINE_S)

    @property
    def _logs(self) -> Path:
        return self.folder / "logs"

    def _command(self, name: str) -> Command:
        kind = name.partition("-")[0]
        arguments, port_setting = (
            (["gateway"], "MILLRACE_GATEWAY_PORT") if kind == "gateway" else (["worker", kind], "MILLRACE_WORKER_PORT")
        )
        port = self._ports[name]
        path = "readyz" if kind == "gateway" else "healthz"
        return Command(
            name,
            kind,
            [*self._millrace, *arguments],
            env={**self._environment(), **self.clocks.environment(name), port_setting: str(port)},
            logs=self._logs,
            ready_url=f"http://{HOST}:{port}/{path}",
        )

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OWN_PREFIXES)}
        return {
            **inherited,
            **SMALL_PARTS,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "DATABASE_URL": self.database_url.replace(f":{self._postgres.port}/", f":{self.proxies['postgres'].port}/"),
            "MILLRACE_BLOBS_URL": str(self.blobs),
        }

    async def add(self, part: Part) -> None:
        """Start a part and keep it running, whatever ends it."""
        self.parts[part.name] = part
        await self.run(part.start)
        self._keepers[part.name] = asyncio.create_task(self._keep(part), name=f"keep {part.name}")

    async def _keep(self, part: Part) -> None:
        """Start it again whenever it has ended."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if part.is_running or not part.wanted:
                continue
            last_words = "" if part.was_ended else part.last_words
            self._note("exit", part=part.name, expected=part.was_ended, last_words=last_words)
            await asyncio.sleep(RESTART_PAUSE_S)
            if part.wanted:
                try:
                    await self.run(part.start)
                    self._note("start", part=part.name)
                except (MillraceError, OSError) as error:
                    self._note("start-failed", part=part.name, error=str(error))

    async def stop(self) -> None:
        """End everything; what is being written down stays."""
        clients = [part for part in self.parts.values() if isinstance(part, Command)]
        servers = [part for part in self.parts.values() if isinstance(part, Server)]
        for part in self.parts.values():
            part.wanted = False
        await asyncio.gather(*(self.run(part.stop) for part in clients))
        for part in servers:
            part.kill()  # Also one that is being started, which ends that start; and nothing is handed over any more.
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)
        for part in servers:
            await asyncio.to_thread(part.stop)
