"""Reading a topic in a test, and writing to it as any other client would."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from schemas.broker import BrokerSettings
from schemas.topics import MESSAGE_BYTES_MAX, Topic

DEADLINE_S = 20


class Reader:
    """Reads a topic from the moment on at which it was opened."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def until(
        self, enough: Callable[[Sequence[ConsumerRecord]], Any], wanted: Callable[[ConsumerRecord], bool]
    ) -> list[ConsumerRecord]:
        """The wanted records up to the first that makes them enough."""
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(DEADLINE_S):
            while not enough(found):
                record = await self._consumer.getone()
                if wanted(record):
                    found.append(record)
        return found

    async def of_tenant(self, tenant: str, count: int = 1) -> list[ConsumerRecord]:
        """The next records of a tenant."""
        return await self.until(
            lambda found: len(found) == count, lambda record: (record.key or b"").startswith(f"{tenant}/".encode())
        )


@asynccontextmanager
async def reading(topic: Topic) -> AsyncIterator[Reader]:
    """Open a reader."""
    consumer = AIOKafkaConsumer(
        **BrokerSettings().client(), enable_auto_commit=False, max_partition_fetch_bytes=8_388_608
    )
    await consumer.start()
    partitions = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    await asyncio.gather(*(consumer.position(partition) for partition in partitions))
    try:
        yield Reader(consumer)
    finally:
        await consumer.stop()


@asynccontextmanager
async def writing() -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer."""
    kafka = AIOKafkaProducer(**BrokerSettings().client(), max_request_size=2 * MESSAGE_BYTES_MAX)
    await kafka.start()
    try:
        yield kafka
    finally:
        await kafka.stop()


def header(record: ConsumerRecord, name: str) -> str:
    """The last header of that name."""
    return str(dict(record.headers)[name].decode())
