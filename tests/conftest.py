"""The real parts that the tests run against: a broker, a database, a worker and a gateway, started once.

Tests keep apart by tenant: each gets one of its own.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from millrace.client import Gateway
from millrace.local.ports import free_port
from millrace.local.process import Child
from tests.servers import Servers, start_servers

READY_DEADLINE_S = 60


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A broker and a database: in containers where a Docker engine answers, else Millrace's own local ones."""
    with start_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Broker:
    """The session's broker."""

    bootstrap_servers: str


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> Broker:
    """A real broker."""
    return Broker(servers.bootstrap_servers)


@pytest.fixture(scope="session")
def database_url(servers: Servers) -> str:
    """A real Postgres with pgvector."""
    return servers.database_url


@pytest.fixture(scope="session")
def environment(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What points every part at the session's servers; set for this process as well."""
    values = {
        "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap_servers,
        "DATABASE_URL": servers.database_url,
        "MILLRACE_BLOBS_URL": str(tmp_path_factory.mktemp("blobs")),
        "MILLRACE_GATEWAY_PORT": str(free_port()),
        # Lets a killed worker come back at once instead of after the session's timeout.
        "MILLRACE_WORKER_INSTANCE_ID": "tests",
        "MILLRACE_WORKER_PORT": str(free_port()),
    }
    values["MILLRACE_URL"] = f"http://127.0.0.1:{values['MILLRACE_GATEWAY_PORT']}"
    os.environ.update(values)
    for command in ("migrate", "topics"):
        subprocess.run([sys.executable, "-m", "millrace", command], check=True, capture_output=True, timeout=120)
    return values


@dataclass(slots=True)
class Process:
    """A part of Millrace in a process of its own, which tests may kill and start again."""

    name: str
    logs: Path
    ready_url: str
    child: Child = field(init=False)

    def start(self) -> None:
        """Return once it says that it is ready."""
        command = [sys.executable, "-m", "millrace", self.name]
        self.child = Child(self.name, command, logs=self.logs, env=dict(os.environ))
        self.child.wait_until(self._is_ready, deadline_s=READY_DEADLINE_S)

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.ready_url, timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def worker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A worker with all stages."""
    url = f"http://127.0.0.1:{environment['MILLRACE_WORKER_PORT']}/healthz"
    process = Process("worker", tmp_path_factory.mktemp("worker"), url)
    process.start()
    yield process
    process.child.terminate(deadline_s=30)


@pytest.fixture(scope="session")
def gateway(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway."""
    process = Process("gateway", tmp_path_factory.mktemp("gateway"), f"{environment['MILLRACE_URL']}/readyz")
    process.start()
    yield process
    process.child.terminate(deadline_s=30)


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else has."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def http(gateway: Process, worker: Process, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP to the gateway, as the test's tenant, with a worker behind it."""
    base = gateway.ready_url.removesuffix("/readyz")
    async with httpx.AsyncClient(base_url=base, headers={"X-Millrace-Tenant": tenant}, timeout=60) as client:
        yield client


@pytest.fixture
async def client(gateway: Process, worker: Process, tenant: str) -> AsyncIterator[Gateway]:
    """Our own client of the gateway, as the test's tenant, with a worker behind it."""
    async with Gateway(gateway.ready_url.removesuffix("/readyz"), tenant) as each:
        yield each
