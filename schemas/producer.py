"""The one kind of producer: idempotent, acknowledged by all in-sync replicas, without lingering."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
)
from aiokafka.structs import RecordMetadata

from schemas.broker import BrokerSettings
from schemas.topics import MESSAGE_BYTES_MAX, Topic

log = structlog.get_logger()

Headers = Sequence[tuple[str, bytes | None]]
Outgoing = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers."""

ACKNOWLEDGED_WITHIN_S = 12
"""Longer than one request to the broker may take. An idempotent producer never gives an event up by itself, since it
could not number the ones behind it any more."""
RECORD_OVERHEAD_BYTES = 1_024
"""Room for what a batch of one record has beside key, value and headers."""
REJECTED = (BrokerResponseError, ProducerFenced)


class Producer:
    """Sends records and returns once the broker has acknowledged them.

    aiokafka counts a batch also where the broker rejects it for good, and then every later one of its partition is
    refused as out of order, or never told of; so after a rejection, or a long silence, this begins anew.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._producer = self._made()
        self._renewing = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect, once the broker has acknowledged what is on its way, or after a while."""
        await asyncio.gather(_stop(self._producer), *self._stopping)

    async def send(
        self, topic: Topic, records: Iterable[Outgoing], partition: int | None = None
    ) -> list[RecordMetadata]:
        """Send records in order, all to ``partition`` or else each to that of its key; otherwise as `send_each`."""
        return await self.send_each(topic, ((partition, record) for record in records))

    async def send_each(self, topic: Topic, records: Iterable[tuple[int | None, Outgoing]]) -> list[RecordMetadata]:
        """Send records, those to one partition in order, and say where they are.

        A place whose offset is negative is unknown: the broker had the record already, from an attempt whose answer was
        lost. Raises KafkaError; of it MessageSizeTooLargeError where a record does not fit into the topic, and
        KafkaTimeoutError where no acknowledgement came: then nobody knows whether the record was, or will be, written.
        """
        producer = self._producer
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                return await _send(producer, topic, records)
        except TimeoutError as error:
            await self._renew(producer)
            raise KafkaTimeoutError(f"No acknowledgement within {ACKNOWLEDGED_WITHIN_S:g} s") from error
        except REJECTED:
            await self._renew(producer)
            raise

    async def _renew(self, given_up: AIOKafkaProducer) -> None:
        async with self._renewing:
            if self._producer is not given_up:
                return
            log.warning("producer begins anew, since a record was rejected or not acknowledged")
            fresh = self._made()
            try:
                async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                    await fresh.start()
            except (TimeoutError, KafkaError):
                await fresh.stop()
                return  # nobody answers: whoever sends next finds out
            self._producer = fresh
        stopping = asyncio.create_task(_stop(given_up))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    def _made(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._settings.client(),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_request_size=2 * MESSAGE_BYTES_MAX,  # each topic's own limit is looked at before
        )


async def _send(
    producer: AIOKafkaProducer, topic: Topic, records: Iterable[tuple[int | None, Outgoing]]
) -> list[RecordMetadata]:
    sent = []
    try:
        for partition, (key, value, headers) in records:
            _require_fit(topic, key, value, headers)
            sent.append(await producer.send(topic.name, value, key=key, headers=list(headers), partition=partition))
    except KafkaError:
        # Nothing of a call that has failed is still on its way, where what is sent next could overtake it.
        await asyncio.gather(*sent, return_exceptions=True)
        raise
    places = await asyncio.gather(*sent, return_exceptions=True)
    for place in places:
        if isinstance(place, BaseException):
            raise place
    return places


async def _stop(producer: AIOKafkaProducer) -> None:
    """Disconnect, whether or not what is on its way is ever acknowledged."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
            await producer.stop()
    await producer.client.close()


def _require_fit(topic: Topic, key: bytes | None, value: bytes | None, headers: Headers) -> None:
    size_bytes = len(key or b"") + len(value or b"") + sum(len(name) + len(data or b"") for name, data in headers)
    if size_bytes + RECORD_OVERHEAD_BYTES > topic.max_message_bytes:
        raise MessageSizeTooLargeError(f"{size_bytes} bytes, where {topic.name} takes {topic.max_message_bytes}.")
