"""The Faust app of a stage. Each stage is a consumer group of its own, so each scales alone on its own lag."""

import asyncio
import ssl
from collections.abc import AsyncIterable, Mapping
from typing import Any, cast

import faust
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, EventT, Message, StreamT

from schemas.broker import BrokerSettings
from streams.lanes import Lanes
from streams.record import Record
from streams.settings import WorkerSettings
from streams.stage import Stage

MAX_POLL_RECORDS = 64
PREFETCHED_EVENTS_MAX = 16
"""Events that Faust reads ahead, per stage, of half a megabyte or 4 MB each; the lanes hold what is chosen from."""
COMMIT_INTERVAL_S = 0.5
"""Offsets only spare work after a restart (effects are kept apart by positions), so this may be lazy, but not long."""


class _TablelessApp(faust.App):
    def _create_directories(self) -> None:
        """Makes none: they are for tables, and would lie in whatever folder the worker was started in."""


class _Consumer(Consumer):
    async def perform_seek(self) -> None:
        """Go on where the group has committed, and where it has not yet, at the beginning.

        aiokafka seeks to no offset that is 0 or was never committed: after a rebalance the partition would go on behind
        what was read before it, and what the lanes have dropped of that would be lost.
        """
        await super().perform_seek()
        fresh = {tp for tp in self.assignment() if not self._committed_offset.get(tp)}
        if fresh:
            earliest = dict(await self.earliest_offsets(*fresh))
            await self.seek_wait(earliest)
            self._read_offset.update({tp: offset or None for tp, offset in earliest.items()})


def create_app(stage: Stage, epoch: int, broker: BrokerSettings, settings: WorkerSettings) -> faust.App:
    """Make the app that feeds a stage from its topic."""
    app = _TablelessApp(
        stage.group,
        broker=[f"kafka://{server}" for server in broker.servers],
        broker_credentials=_credentials(broker),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 5,
        broker_rebalance_timeout=settings.session_timeout_s,
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_max_poll_records=MAX_POLL_RECORDS,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=stage.source.max_message_bytes,
        consumer_group_instance_id=settings.instance_id and f"{settings.instance_id}-{stage.name}",
        stream_buffer_maxsize=PREFETCHED_EVENTS_MAX,
        stream_wait_empty=False,  # unfinished records come again, so nobody has to wait for them
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        web_enabled=False,
        loghandlers=[],
    )
    app.transport.Consumer = _Consumer  # type: ignore[misc]
    topic = app.topic(stage.source.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    crashes: set[asyncio.Task[None]] = set()

    def crash(error: BaseException) -> None:
        # Ends the worker: an orchestrator starts it again, and the record comes again.
        crashes.add(asyncio.create_task(app.crash(error)))

    def passed(partition: int, offsets: range) -> None:
        # Faust commits past an unfinished record at the head of a partition if it is acknowledged out of order
        # (`_new_offset` looks for gaps behind the committed offset only), so it hears of each offset in order.
        for offset in offsets:
            app.consumer.ack(Message(stage.source.name, partition, offset, 0, 0, None, None, None, None))

    lanes = Lanes(stage, passed, crash)

    @app.agent(topic, name=stage.name)
    async def consume(stream: StreamT[Any]) -> AsyncIterable[None]:
        try:
            async for event in cast(faust.Stream[bytes], stream).noack().events():
                if event.message.generation_id == app.consumer_generation_id:
                    await lanes.put(_record(event, epoch))
                yield None
        finally:
            await lanes.stop()

    @app.on_partitions_revoked.connect  # type: ignore[arg-type]
    async def drop(_app: Any, *revoked: set[TP], **_: Any) -> None:
        await lanes.drop([tp.partition for tps in revoked for tp in tps])

    return app


def _record(event: EventT[bytes], epoch: int) -> Record:
    message = event.message
    headers = message.headers or ()
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        epoch=epoch,
        key=message.key,
        value=message.value,
        headers=tuple(headers.items() if isinstance(headers, Mapping) else headers),
        timestamp_ms=round(message.timestamp * 1_000),
    )


def _credentials(broker: BrokerSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    context = ssl.create_default_context() if broker.security_protocol.endswith("SSL") else None
    if broker.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=broker.sasl_username,
            password=broker.sasl_password.get_secret_value() if broker.sasl_password else None,
            mechanism=broker.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None
