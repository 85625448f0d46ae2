"""The hub: what the streams say, handed to the requests that wait for it.

Every gateway reads the whole of `documents.status` and `chat.events` from now on, without a consumer group: any replica
can serve any client, and none of them keeps anything.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.broker import BrokerSettings
from schemas.errors import InvalidEvent
from schemas.events import ChatEventBase, DocumentStatus, Event
from schemas.topics import CHAT_EVENTS, STATUS
from schemas.wire import decode, ids_of

log = structlog.get_logger()

QUEUED_EVENTS_MAX = 1_000
"""What a subscriber that is this far behind has not read is dropped, and it is told."""
RETRY_S = 1.0
PARTITIONS = [
    TopicPartition(topic.name, partition) for topic in (STATUS, CHAT_EVENTS) for partition in range(topic.partitions)
]

Channel = tuple[str, str, str]


class Slow(Exception):
    """The subscriber did not keep up."""


class Subscription:
    """The events of one channel, from the moment of subscribing on."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(QUEUED_EVENTS_MAX)
        self._slow = False

    def put(self, event: Event) -> None:
        """Queue an event."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._slow = True

    async def get(self) -> Event:
        """The next event. Raises `Slow` once after events were lost, and goes on with those from then on."""
        if self._slow:
            self._slow = False
            self._queue = asyncio.Queue(QUEUED_EVENTS_MAX)
            raise Slow
        return await self._queue.get()


class Hub:
    """Fans the events of the two topics out to subscriptions; ``alive`` while it reads."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._subscriptions: dict[Channel, set[Subscription]] = defaultdict(set)
        self._places: dict[TopicPartition, int] = {}
        self.alive = False

    @contextmanager
    def document(self, tenant_id: str, document_id: str) -> Iterator[Subscription]:
        """Follow a document's status."""
        yield from self._subscribe(("document", tenant_id, document_id))

    @contextmanager
    def chat(self, tenant_id: str, request_id: str) -> Iterator[Subscription]:
        """Follow the answer to a request."""
        yield from self._subscribe(("chat", tenant_id, request_id))

    def _subscribe(self, channel: Channel) -> Iterator[Subscription]:
        subscription = Subscription()
        self._subscriptions[channel].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[channel].discard(subscription)
            if not self._subscriptions[channel]:
                del self._subscriptions[channel]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read while the context lasts; returns once the first connection stands."""
        consumer = await self._connect()
        task = asyncio.create_task(self._read(consumer), name="hub")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**self._settings.client(), enable_auto_commit=False, auto_offset_reset="latest")
        try:
            await consumer.start()
            consumer.assign(PARTITIONS)
            if self._places:
                for partition, place in self._places.items():
                    consumer.seek(partition, place)
            else:
                await consumer.seek_to_end(*PARTITIONS)
                # The end is only looked up by the first fetch; a request may come before that.
                places = await asyncio.gather(*(consumer.position(partition) for partition in PARTITIONS))
                self._places = dict(zip(PARTITIONS, places, strict=True))
        except BaseException:
            await consumer.stop()
            raise
        self.alive = True
        return consumer

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    async for record in consumer:
                        self._places[TopicPartition(record.topic, record.partition)] = record.offset + 1
                        self._dispatch(record)
                except Exception:
                    # Whatever it is: everybody who follows something depends on this task.
                    log.exception("hub stopped reading")
                self.alive = False
                await consumer.stop()
                consumer = await self._reconnect()
        finally:
            self.alive = False
            await consumer.stop()

    async def _reconnect(self) -> AIOKafkaConsumer:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                return await self._connect()
            except Exception as error:
                log.warning("hub cannot connect", error=repr(error))

    def _dispatch(self, record: ConsumerRecord) -> None:
        # Most documents have no follower, and to read a key takes a hundredth of what it takes to read an event.
        if record.topic == STATUS.name and ("document", *ids_of(record.key)) not in self._subscriptions:
            return
        topic = STATUS if record.topic == STATUS.name else CHAT_EVENTS
        try:
            event, _ = decode(topic.events, record.key, record.value, record.headers)
        except InvalidEvent as error:
            log.warning("hub skipped an event", topic=record.topic, offset=record.offset, error=str(error))
            return
        channel = _channel(event)
        for subscription in self._subscriptions.get(channel, ()):
            subscription.put(event)


def _channel(event: Event) -> Channel:
    if isinstance(event, DocumentStatus):
        return "document", event.tenant_id, event.document_id
    assert isinstance(event, ChatEventBase)
    return "chat", event.tenant_id, event.request_id
