"""Millrace as `millrace up` runs it, on a Kafka and a Postgres of its own, in a folder that is kept.

The worker and the gateway are processes of their own, and nothing but their settings tells them of the measurement.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from db.pool import DatabaseSettings
from millrace.local.home import Home
from millrace.local.kafka import LocalKafka
from millrace.local.ports import HOST, free_port
from millrace.local.postgres import LocalPostgres
from millrace.local.process import Child, terminate_in_order
from millrace.tables import bring_up_to_date
from schemas.broker import BrokerSettings, ensure_topics

TENANT = "bench"
READY_DEADLINE_S = 60
STOP_DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class System:
    """A running Millrace."""

    home: Home
    url: str
    worker_url: str
    dsn: str
    bootstrap_servers: str
    parts: Mapping[str, psutil.Process]
    """By name: kafka, postgres, worker, gateway."""

    @property
    def headers(self) -> dict[str, str]:
        """What names the tenant in a request."""
        return {"X-Millrace-Tenant": TENANT}

    def alter_postgres(self, setting: str) -> None:
        """Change a setting of the server while it runs, as ``ALTER SYSTEM SET`` takes it."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")

    def count(self, name: str) -> float:
        """A counter of the worker's, over all its labels."""
        families = text_string_to_metric_families(httpx.get(f"{self.worker_url}/metrics").text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == f"{name}_total")


@dataclass(frozen=True, slots=True)
class Servers:
    """A Kafka and a Postgres that answer."""

    home: Home
    kafka: LocalKafka
    postgres: LocalPostgres


@contextmanager
def servers(folder: Path, *, anew: bool = False) -> Iterator[Servers]:
    """Start both on what is in the folder, or on nothing."""
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder.absolute(), libs=Home.default().kafka_libs)
    home.prepare()
    with LocalKafka(home) as kafka, LocalPostgres(home, free_port()) as postgres:
        yield Servers(home, kafka, postgres)


@contextmanager
def millrace(
    folder: Path,
    *,
    anew: bool = False,
    program: Sequence[str] = ("millrace",),
    settings: Mapping[str, str] | None = None,
) -> Iterator[System]:
    """Run it on what is in the folder, or on nothing.

    ``program`` is the module that is run in place of millrace, with its first arguments; ``settings`` are environment
    variables for its processes.
    """
    with servers(folder, anew=anew) as started, ExitStack() as stack:
        gateway_port, worker_port = free_port(), free_port()
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": started.kafka.bootstrap_servers,
            "DATABASE_URL": started.postgres.dsn,
            "MILLRACE_BLOBS_URL": str(started.home.blobs),
            "MILLRACE_GATEWAY_PORT": str(gateway_port),
            "MILLRACE_WORKER_PORT": str(worker_port),
            **(settings or {}),
        }
        bring_up_to_date(DatabaseSettings(DATABASE_URL=started.postgres.dsn))
        asyncio.run(ensure_topics(BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=started.kafka.bootstrap_servers)))
        children: dict[str, Child] = {}
        # First the gateway, as `millrace up` does.
        stack.callback(
            lambda: terminate_in_order(
                [[children[name]] for name in ("gateway", "worker") if name in children], deadline_s=STOP_DEADLINE_S
            )
        )
        urls = {"worker": f"http://{HOST}:{worker_port}", "gateway": f"http://{HOST}:{gateway_port}"}
        for name in urls:
            command = [sys.executable, "-m", *program, name]
            children[name] = Child(name, command, logs=started.home.logs, env=environment)
        children["gateway"].wait_until(lambda: answers(f"{urls['gateway']}/readyz"), deadline_s=READY_DEADLINE_S)
        children["worker"].wait_until(lambda: answers(f"{urls['worker']}/healthz"), deadline_s=READY_DEADLINE_S)
        pids = {"kafka": started.kafka.pid, "postgres": started.postgres.pid} | {
            name: child.pid for name, child in children.items()
        }
        yield System(
            home=started.home,
            url=urls["gateway"],
            worker_url=urls["worker"],
            dsn=started.postgres.dsn,
            bootstrap_servers=started.kafka.bootstrap_servers,
            parts={name: psutil.Process(pid) for name, pid in pids.items()},
        )


def answers(url: str) -> bool:
    """Whether what listens there says 200."""
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
