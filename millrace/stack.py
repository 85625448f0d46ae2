"""Everything on one machine: Kafka, Postgres, a worker with all stages and a gateway, started and stopped together."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import httpx

from db.pool import DatabaseSettings
from gateway.settings import GatewaySettings
from millrace.local.home import Home
from millrace.local.kafka import LocalKafka
from millrace.local.ports import require_free_port
from millrace.local.postgres import LocalPostgres
from millrace.local.process import Child, terminate_in_order
from millrace.settings import CommandSettings
from millrace.tables import bring_up_to_date
from schemas.broker import BrokerSettings, ensure_topics

READY_DEADLINE_S = 60
STOP_DEADLINE_S = 30
RESTART_PAUSE_S = 1.0
"""Between a process's end and its restart, so that one that cannot live does not spin."""

Say = Callable[[str], None]


class Stack:
    """The running parts. Where KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL is set, that server is used, not a local one.

    ``say`` is told what happens, one line each.
    """

    def __init__(self, settings: CommandSettings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._home = Home(Path(settings.home).expanduser().absolute())
        self._exit = ExitStack()
        self._children: dict[str, Child] = {}
        self._gateway = GatewaySettings()
        self.url = f"http://{self._gateway.host}:{self._gateway.port}"

    def __enter__(self) -> Self:
        """Return once the gateway is ready. Raises what the parts raise, and `ProcessFailed`."""
        with self._exit:
            require_free_port(self._gateway.port, "The gateway")
            self._home.prepare()
            os.environ.setdefault("MILLRACE_BLOBS_URL", str(self._home.blobs))
            self._start_servers()
            self._set_up()
            self._exit.callback(self._stop_children)
            for name in ("worker", "gateway"):
                self._spawn(name)
            self._children["gateway"].wait_until(self._is_ready, deadline_s=READY_DEADLINE_S)
            self._exit = self._exit.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._say("stopping")
        self._exit.close()

    def watch(self) -> Iterator[None]:
        """Keep the worker and the gateway running; gives control back after each look, about twice a second."""
        while True:
            for name, child in list(self._children.items()):
                if not child.is_running:
                    self._say(f"{child.failure()} Starting it again.")
                    time.sleep(RESTART_PAUSE_S)
                    self._spawn(name)
            yield
            time.sleep(0.5)

    def _start_servers(self) -> None:
        servers: dict[str, LocalKafka | LocalPostgres] = {}
        if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
            servers["kafka"] = LocalKafka(self._home, self._settings.kafka_port)
        if "DATABASE_URL" not in os.environ:
            servers["postgres"] = LocalPostgres(self._home, self._settings.postgres_port)
        with ThreadPoolExecutor() as pool:
            started = {name: pool.submit(server.start) for name, server in servers.items()}
        for name, server in servers.items():
            if started[name].exception() is None:
                self._exit.callback(server.stop)
        for name, future in started.items():
            future.result()
            self._say(f"{name} is up")
        for server in servers.values():
            if isinstance(server, LocalKafka):
                os.environ["KAFKA_BOOTSTRAP_SERVERS"] = server.bootstrap_servers
            else:
                os.environ["DATABASE_URL"] = server.dsn

    def _set_up(self) -> None:
        bring_up_to_date(DatabaseSettings())
        asyncio.run(ensure_topics(BrokerSettings()))
        self._say("tables and topics are up to date")

    def _spawn(self, name: str) -> None:
        command = [sys.executable, "-m", "millrace", name]
        self._children[name] = Child(name, command, logs=self._home.logs, env=dict(os.environ))

    def _stop_children(self) -> None:
        # First the gateway: what it accepted meanwhile waits in Kafka for the next start.
        order = [[self._children[name]] for name in ("gateway", "worker") if name in self._children]
        terminate_in_order(order, deadline_s=STOP_DEADLINE_S)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def running(say: Say) -> Iterator[Stack]:
    """The stack for as long as the context lasts."""
    with Stack(CommandSettings(), say) as stack:
        yield stack
