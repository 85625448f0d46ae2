"""A broker and a database for the tests, behind one interface."""

import os
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import psycopg
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.postgres import PostgresContainer

from millrace.local.home import Home
from millrace.local.kafka import LocalKafka
from millrace.local.ports import free_port
from millrace.local.postgres import LocalPostgres

KAFKA_IMAGE = "apache/kafka:4.1.0"
POSTGRES_IMAGE = "pgvector/pgvector:pg18"
START_DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen."""

    bootstrap_servers: str
    database_url: str
    kind: str


@contextmanager
def start_servers(folder: Path) -> Iterator[Servers]:
    """Containers where a Docker engine answers and has the images, else Millrace's own local servers."""
    with ExitStack() as stack:
        yield _containers(stack) or _local(stack, folder)


def _local(stack: ExitStack, folder: Path) -> Servers:
    home = Home(folder, libs=Home.default().kafka_libs)
    kafka = stack.enter_context(LocalKafka(home))
    postgres = stack.enter_context(LocalPostgres(home))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return Servers(kafka.bootstrap_servers, postgres.dsn, "local")


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
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # one more image, and we stop what we started
    port = free_port()
    kafka = (
        DockerContainer(KAFKA_IMAGE)
        .with_bind_ports(port, port)
        .with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS=f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:29093",
            KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@127.0.0.1:29093",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
        )
    )
    stack.enter_context(kafka)
    postgres = stack.enter_context(
        PostgresContainer(POSTGRES_IMAGE, username="postgres", password="postgres", dbname="millrace", driver=None)
    )
    url = postgres.get_connection_url()
    deadline = time.monotonic() + START_DEADLINE_S
    while not _answers(url):
        assert time.monotonic() < deadline, postgres.get_logs()
    return Servers(f"127.0.0.1:{port}", url, "containers")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
