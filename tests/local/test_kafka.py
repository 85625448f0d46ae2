import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from millrace.local import Home, LocalKafka
from millrace.local.java import BUNDLED_JAVA
from millrace.local.kafka import Seat, new_cluster_id
from millrace.local.lock import AlreadyRunning
from millrace.local.ports import HOST, PortInUse, free_port
from tests.local.conftest import LIBS

TOPIC = "kept"


async def create_topic(kafka: LocalKafka, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=copies)])
    await admin.close()


async def send(kafka: LocalKafka, value: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, acks="all", enable_idempotence=True, max_request_size=4 << 20
    ) as producer:
        await producer.send_and_wait(TOPIC, value)


async def config(kafka: LocalKafka, name: str) -> str:
    """A setting of the topic, as the broker has it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
    await admin.close()
    return next(str(entry[1]) for resource in answer.resources for entry in resource[4] if entry[0] == name)


async def read(kafka: LocalKafka, count: int) -> list[bytes]:
    """Through a group, so that its coordinator and its offsets topic are there too."""
    async with AIOKafkaConsumer(
        TOPIC, bootstrap_servers=kafka.bootstrap_servers, group_id="readers", auto_offset_reset="earliest"
    ) as consumer:
        values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.seek_to_beginning()
        await consumer.commit()
    return values


async def test_what_was_acknowledged_is_kept_over_stop_and_kill(home: Home) -> None:
    with LocalKafka(home) as kafka:
        await create_topic(kafka)
        await send(kafka, b"before stop")
        assert kafka.is_running
    assert not kafka.is_running

    kafka = LocalKafka(home).start()
    await send(kafka, b"before kill" + bytes(3 << 20))
    kafka.kill()
    assert not kafka.is_running

    with LocalKafka(home) as kafka:
        assert [value[:11] for value in await read(kafka, 2)] == [b"before stop", b"before kill"]


async def test_it_runs_on_the_bundled_java_and_only_one_owner_gets_it(home: Home) -> None:
    local = LocalKafka(home, java=BUNDLED_JAVA), LocalKafka(home, java=BUNDLED_JAVA)
    with ThreadPoolExecutor(2) as pool:
        outcomes = [future.exception() for future in [pool.submit(kafka.start) for kafka in local]]
    winner = local[outcomes.index(None)]
    (refused,) = (error for error in outcomes if error is not None)
    assert isinstance(refused, AlreadyRunning)
    await create_topic(winner)
    await send(winner, b"on another Java")
    assert await read(winner, 1) == [b"on another Java"]
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection((_own_address(), winner.port), timeout=5)
    winner.stop()


def _own_address() -> str:
    """An address of this machine that is not the one that servers here listen on."""
    return "127.0.0.2"


def test_a_port_in_use_is_said_and_the_folder_left_free(home: Home) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        local = LocalKafka(home, port)
        for _ in range(2):
            with pytest.raises(PortInUse, match=f"Kafka needs 127.0.0.1:{port}"):
                local.start()


async def test_a_cluster_of_three_keeps_what_was_acknowledged_when_one_is_killed(tmp_path: Path) -> None:
    brokers = three_brokers(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(LocalKafka.start, brokers))
    await create_topic(brokers[0], copies=3)
    assert await config(brokers[0], "min.insync.replicas") == "2"
    await send(brokers[0], b"to all three")
    brokers[0].kill()
    await send(brokers[1], b"to two of them")
    assert await read(brokers[2], 2) == [b"to all three", b"to two of them"]
    for broker in brokers[1:]:
        broker.kill()


def three_brokers(folder: Path) -> list[LocalKafka]:
    cluster_id, controllers = new_cluster_id(), {number: free_port() for number in (1, 2, 3)}
    brokers = []
    for number in controllers:
        port, peer_port = free_port(), free_port()
        seat = Seat(number, cluster_id, controllers, client_port=port, peer_port=peer_port, listen_port=peer_port)
        home = Home(folder / str(number), libs=LIBS)
        brokers.append(LocalKafka(home, port, seat=seat, heap_mib=256))
    return brokers
