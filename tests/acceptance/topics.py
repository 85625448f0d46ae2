"""Following a topic as any consumer would."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.events import DocumentStatus, State
from schemas.topics import STATUS, Topic
from schemas.wire import decode

Wanted = Callable[[ConsumerRecord], bool]


class Reader:
    """All partitions of a topic, from the moment of opening on."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def of(cls, topic: Topic, bootstrap_servers: str) -> AsyncIterator[Self]:
        """Open a reader."""
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            # The end is only looked up by the first fetch; what is written before that would be missed.
            await asyncio.gather(*(consumer.position(partition) for partition in partitions))
            yield cls(consumer)
        finally:
            await consumer.stop()

    async def next(self, wanted: Wanted, *, deadline_s: float = 20) -> ConsumerRecord:
        """The next record that is wanted; fails at the deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    record = await self._consumer.getone()
                    if wanted(record):
                        return record
        except TimeoutError:
            raise AssertionError(f"no such record within {deadline_s:g} s") from None


class Statuses(Reader):
    """`documents.status`, read as the contract says."""

    @classmethod
    @asynccontextmanager
    async def following(cls, bootstrap_servers: str) -> AsyncIterator[Self]:
        """Open a reader of the status topic."""
        async with cls.of(STATUS, bootstrap_servers) as reader:
            yield reader

    async def status(self, tenant_id: str, *states: State, deadline_s: float = 20) -> DocumentStatus:
        """The tenant's next status, or the next of these states."""

        def wanted(record: ConsumerRecord) -> bool:
            return (record.key or b"").startswith(f"{tenant_id}/".encode()) and (
                not states or read_status(record).state in states
            )

        return read_status(await self.next(wanted, deadline_s=deadline_s))

    async def course(self, tenant_id: str, document_id: str, *, deadline_s: float = 20) -> list[DocumentStatus]:
        """A document's statuses up to the next final one."""
        course: list[DocumentStatus] = []
        key = f"{tenant_id}/{document_id}".encode()
        while not course or not course[-1].state.final:
            record = await self.next(lambda record: record.key == key, deadline_s=deadline_s)
            course.append(read_status(record))
        return course


def read_status(record: ConsumerRecord) -> DocumentStatus:
    """The status in a record."""
    event, _ = decode(STATUS.events, record.key, record.value, record.headers)
    assert isinstance(event, DocumentStatus)
    return event
