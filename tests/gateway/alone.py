"""Servers for a few tests alone, so that the lag, the contents and the end of them are these tests' own."""

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from millrace.local import Home, LocalKafka
from schemas.broker import BrokerSettings
from schemas.topics import CHAT_REQUESTED, SUBMITTED
from tests.gateway.processes import started


@dataclass(frozen=True, slots=True)
class Alone:
    """Where they are."""

    environment: dict[str, str]
    folder: Path

    @property
    def broker(self) -> BrokerSettings:
        """How to reach the broker."""
        return BrokerSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": self.environment["KAFKA_BOOTSTRAP_SERVERS"]})

    @property
    def blobs(self) -> list[Path]:
        """What is in the object store."""
        return [path for path in (self.folder / "blobs").rglob("*") if path.is_file()]

    async def ends(self) -> int:
        """Events that were ever written by a gateway."""
        consumer = AIOKafkaConsumer(**self.broker.client())
        await consumer.start()
        ends = await consumer.end_offsets(
            [TopicPartition(topic.name, n) for topic in (SUBMITTED, CHAT_REQUESTED) for n in range(topic.partitions)]
        )
        await consumer.stop()
        return sum(ends.values())

    @asynccontextmanager
    async def gateway(self, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
        """A gateway with these settings, which no worker works for."""
        given = {f"MILLRACE_{name.upper()}": str(value) for name, value in settings.items()}
        with started("gateway", self.folder / "logs", self.environment | given) as (url, _):
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                yield http


@contextmanager
def start_alone(database_url: str, folder: Path) -> Iterator[Alone]:
    """A broker, a database and an object store."""
    name = f"scratch_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with LocalKafka(Home(folder / "home", libs=Home.default().kafka_libs)) as kafka:
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "DATABASE_URL": urlunsplit(urlsplit(database_url)._replace(path=f"/{name}")),
            "MILLRACE_BLOBS_URL": str(folder / "blobs"),
        }
        for command in ("migrate", "topics"):
            subprocess.run(
                [sys.executable, "-m", "millrace", command],
                check=True,
                capture_output=True,
                timeout=120,
                env={**os.environ, **environment},
            )
        yield Alone(environment, folder)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
