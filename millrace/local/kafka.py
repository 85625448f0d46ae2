"""A real Kafka on this machine: a KRaft node, broker and controller in one, alone or with others."""

import base64
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.local.home import Home
from millrace.local.jars import resolve_jars
from millrace.local.java import find_java
from millrace.local.ports import HOST, free_port
from millrace.local.process import Child
from millrace.local.server import LocalServer
from schemas.errors import MillraceError

LOG4J = Path(__file__).with_name("log4j2.xml")
JAVA_OPTIONS = (
    "-XX:+ExitOnOutOfMemoryError",
    # Small and soon there: the first compiler alone halves the processor time of a start, which is most of what a
    # laptop's or a test's broker ever takes.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
)
SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    # A batch of a few hundred chunks with their vectors; Kafka's own default is 1 MiB.
    "message.max.bytes": 8 << 20,
    # The defaults of 50 each make the first consumer wait while they are created.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 4,
    # The first consumer of a group gets its partitions at once; by default it waits 3 s for others.
    "group.initial.rebalance.delay.ms": 0,
    # After a kill -9 the broker may come back only once its old session has expired; by default after 9 s.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    # Two cores are served by fewer threads, and a compaction of our small topics by less than 128 MB.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.cleaner.dedupe.buffer.size": 16 << 20,
}
# A follower that hears nothing leaves the in-sync replicas and asks another leader in seconds; by default in 30.
FOLLOWER_SETTINGS = {"replica.lag.time.max.ms": 4000, "replica.socket.timeout.ms": 3000}


@dataclass(frozen=True, slots=True)
class Seat:
    """A broker's place in a cluster of several. All ports are on this machine.

    ``controller_ports`` are those of all members, by node id. Clients are told ``client_port``, and the other brokers
    ``peer_port``, to reach this broker: proxies, if they are not its own. It listens to its peers on ``listen_port``.
    """

    node_id: int
    cluster_id: str
    controller_ports: Mapping[int, int]
    client_port: int
    peer_port: int
    listen_port: int


def new_cluster_id() -> str:
    """As Kafka makes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class KafkaNotFormatted(MillraceError):
    """The local Kafka's folder could not be made ready."""

    type = "kafka-not-formatted"


class LocalKafka(LocalServer):
    """One broker on ``home.kafka``. ``java`` is the Java to run it on, if not the one of ``find_java()``.

    With a ``seat`` it is one of several, each on a home and a fixed port of its own: start them together, since each
    waits for a majority. They keep three copies of everything, two of which must have a record to acknowledge it.

    A record is acknowledged once the operating system has it, as Kafka always does: a killed broker loses nothing.
    ``start`` raises ``NoJava``, ``NoMaven``, ``JarsNotResolved`` and ``KafkaNotFormatted`` too.
    """

    title = "Kafka"
    # After a crash it reads the last segment of each partition again before it answers.
    start_deadline_s = 120.0
    stop_deadline_s = 30.0

    def __init__(
        self,
        home: Home,
        port: int | None = None,
        *,
        java: Path | None = None,
        seat: Seat | None = None,
        heap_mib: int = 512,
    ) -> None:
        super().__init__(home, port)
        self._java = java
        self._seat = seat
        self._heap_mib = heap_mib
        self._data = home.kafka / "data"
        self._command: list[str] = []

    @property
    def folder(self) -> Path:
        """Where its data and its lock are."""
        return self.home.kafka

    @property
    def bootstrap_servers(self) -> str:
        """``host:port``, as clients take it."""
        return f"{HOST}:{self.port}"

    def _prepare(self) -> None:
        java = self._java or find_java()
        jars = resolve_jars(self.home.kafka_libs, java)
        options = [f"-Xmx{self._heap_mib}m", *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={LOG4J.as_uri()}"]
        self._command = [str(java), *options, "-cp", f"{jars}/*"]
        if not self._data.exists():
            self._format()

    def _format(self) -> None:
        # Elsewhere and then moved: a folder half formatted by a killed first start is never taken for a log.
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        properties = self._write_properties(unfinished)
        cluster_id = self._seat.cluster_id if self._seat else new_cluster_id()
        made = subprocess.run(  # noqa: S603 - our own command
            [
                *self._command,
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster_id}",
                f"--config={properties}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise KafkaNotFormatted((made.stderr.strip() or made.stdout.strip()).splitlines()[-1][:300])
        unfinished.rename(self._data)

    def _spawn(self, lock_descriptor: int) -> Child:
        properties = self._write_properties(self._data)
        return Child(
            "kafka", [*self._command, "kafka.Kafka", properties], logs=self.home.logs, keep_open=[lock_descriptor]
        )

    def _write_properties(self, data: Path) -> Path:
        place = _member(self._seat, self.port) if self._seat else _alone(self.port)
        settings = {**SETTINGS, **place, "log.dirs": data}
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path

    def is_ready(self) -> bool:
        """Does it name a broker when asked for metadata of no topic?"""
        request = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata, version 1, correlation 0, no client id, no topics
        try:
            with socket.create_connection((HOST, self.port), timeout=5) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                answer = connection.recv(12, socket.MSG_WAITALL)
        except OSError:
            return False
        return len(answer) == 12 and struct.unpack(">iii", answer)[2] > 0  # size, correlation, number of brokers


def _alone(port: int) -> dict[str, object]:
    controller = f"{HOST}:{free_port()}"
    return {
        "node.id": 1,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{controller}",
        "controller.quorum.voters": f"1@{controller}",
        **_copies(1, in_sync=1),
    }


def _member(seat: Seat, port: int) -> dict[str, object]:
    controllers = {node: f"{HOST}:{each}" for node, each in seat.controller_ports.items()}
    listeners = {
        "CLIENTS": f"{HOST}:{port}",
        "PEERS": f"{HOST}:{seat.listen_port}",
        "CONTROLLER": controllers[seat.node_id],
    }
    return {
        "node.id": seat.node_id,
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": f"CLIENTS://{HOST}:{seat.client_port},PEERS://{HOST}:{seat.peer_port}",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "inter.broker.listener.name": "PEERS",
        "controller.quorum.voters": ",".join(f"{node}@{address}" for node, address in controllers.items()),
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        **_copies(3, in_sync=2),
        **FOLLOWER_SETTINGS,
    }


def _copies(copies: int, *, in_sync: int) -> dict[str, object]:
    """How many copies of Kafka's own topics there are, and how many must have a record to acknowledge it."""
    return {
        "offsets.topic.replication.factor": copies,
        **{
            f"{topic}.{name}": value
            for topic in ("transaction.state.log", "share.coordinator.state.topic")
            for name, value in (("replication.factor", copies), ("min.isr", in_sync))
        },
    }
