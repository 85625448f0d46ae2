"""A broker and a database for the tests, behind one interface."""

import asyncio
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import psycopg
from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from millrace.local.home import Home
from millrace.local.kafka import LocalKafka
from millrace.local.ports import free_port
from millrace.local.postgres import LocalPostgres
from schemas.broker import BrokerSettings, ensure_topics
from schemas.errors import BrokerUnavailable

KAFKA_IMAGE = "apache/kafka:4.1.1"
POSTGRES_IMAGE = "pgvector/pgvector:0.8.1-pg18"
POSTGRES_PORT = 5432
START_DEADLINE_S = 60
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen."""

    bootstrap_servers: str
    database_url: str
    kind: str
    restart_postgres: Callable[[], None]
    """Kill Postgres without a warning and start it again; returns once it answers."""


@contextmanager
def start_servers(folder: Path) -> Iterator[Servers]:
    """Containers where a Docker engine answers and has the images, else Millrace's own local servers."""
    with ExitStack() as stack:
        yield _containers(stack) or _local(stack, folder)


def _local(stack: ExitStack, folder: Path) -> Servers:
    home = Home(folder, libs=Home.default().kafka_libs)
    kafka = stack.enter_context(LocalKafka(home))
    # On a port that it keeps when it is started again.
    postgres = stack.enter_context(LocalPostgres(home, free_port()))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)

    def restart_postgres() -> None:
        postgres.kill()
        postgres.start()

    return Servers(kafka.bootstrap_servers, postgres.dsn, "local", restart_postgres)


def _containers(stack: ExitStack) -> Servers | None:
    try:
        engine = docker.from_env()
        engine.ping()
    except DockerException:
        return None
    try:
        for image in (KAFKA_IMAGE, POSTGRES_IMAGE):
            if not engine.images.list(image):
                engine.images.pull(image)
    except DockerException as error:
        warnings.warn(f"Docker is here, but not its images ({error}): testing on local servers.", stacklevel=2)
        return None
    testcontainers_config.ryuk_disabled = True  # its reaper would be one more image; we stop what we started
    kafka_port, postgres_port = free_port(), free_port()
    kafka = DockerContainer(KAFKA_IMAGE).with_envs(
        KAFKA_NODE_ID="1",
        KAFKA_PROCESS_ROLES="broker,controller",
        KAFKA_LISTENERS=f"PLAINTEXT://:{kafka_port},CONTROLLER://localhost:29093",
        KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{kafka_port}",
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
        KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:29093",
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
        KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
        KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
        KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
        KAFKA_HEAP_OPTS="-Xmx512m",
    )
    postgres = PostgresContainer(
        POSTGRES_IMAGE, username="postgres", password="postgres", dbname="millrace", driver=None
    )
    for container, inside, outside in ((kafka, kafka_port, kafka_port), (postgres, POSTGRES_PORT, postgres_port)):
        # For this machine alone, where with_bind_ports would open it to the network.
        container.ports[str(inside)] = ("127.0.0.1", outside)  # type: ignore[assignment]
        stack.enter_context(container)
    database_url = f"postgresql://postgres:postgres@127.0.0.1:{postgres_port}/millrace"

    def restart_postgres() -> None:
        postgres.get_wrapped_container().restart(timeout=0)
        _wait_until(lambda: _postgres_answers(database_url), postgres)

    servers = Servers(f"127.0.0.1:{kafka_port}", database_url, "containers", restart_postgres)
    _wait_until(lambda: _postgres_answers(servers.database_url), postgres)
    _wait_until(lambda: _kafka_answers(servers.bootstrap_servers), kafka)
    return servers


def _wait_until(answers: Callable[[], bool], container: DockerContainer) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while not answers():
        assert time.monotonic() < deadline, container.get_logs()
        time.sleep(POLL_S)


def _postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _kafka_answers(bootstrap_servers: str) -> bool:
    try:
        asyncio.run(ensure_topics(BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=bootstrap_servers), create=False))
    except BrokerUnavailable:
        return False
    return True
