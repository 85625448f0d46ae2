"""How far each stage is behind its topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Gauge

from schemas.broker import BrokerSettings
from schemas.topics import GROUP_OF_STAGE, Topic

log = structlog.get_logger()

LAG = Gauge("millrace_stage_lag_records", "Records that a stage has not committed yet.", ["stage"])
MEASURE_EVERY_S = 2.0


class LagMeter:
    """Measures in the background; ``lags`` has the newest figures by stage, None while the broker cannot be asked."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self.lags: dict[str, int] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measure while the context lasts."""
        task = asyncio.create_task(self._run(), name="lag")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            admin = AIOKafkaAdminClient(**self._settings.client())
            consumer = AIOKafkaConsumer(**self._settings.client(), enable_auto_commit=False)
            try:
                await admin.start()
                await consumer.start()
                while True:
                    self.lags = {
                        stage: await _lag(admin, consumer, group, topic)
                        for stage, (group, topic) in GROUP_OF_STAGE.items()
                    }
                    for stage, lag in self.lags.items():
                        LAG.labels(stage).set(lag)
                    await asyncio.sleep(MEASURE_EVERY_S)
            except Exception as error:
                # Whatever it is: no figure is better than an old one.
                self.lags = None
                log.warning("lag unknown", error=repr(error))
            finally:
                await consumer.stop()
                await admin.close()
            await asyncio.sleep(MEASURE_EVERY_S)


async def _lag(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str, topic: Topic) -> int:
    partitions = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    committed = await admin.list_consumer_group_offsets(group, partitions=partitions)
    return sum(
        ends[partition] - max(committed[partition].offset, begins[partition])
        if partition in committed
        else ends[partition] - begins[partition]
        for partition in partitions
    )
