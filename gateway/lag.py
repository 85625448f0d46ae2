"""How far each stage of the live generation is behind its topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Gauge

from db import generations
from db.pool import Pool
from schemas.broker import BrokerSettings
from schemas.topics import GROUP_OF_STAGE, Topic, group_of, of_generation

log = structlog.get_logger()

LAG = Gauge("millrace_stage_lag_records", "Records that a stage has not committed yet.", ["stage"])
MEASURE_EVERY_S = 2.0


class LagMeter:
    """Measures in the background; ``lags`` has the newest figures by stage, None while the broker cannot be asked."""

    def __init__(self, settings: BrokerSettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
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
                    generation = (await generations.live(self._pool)).number
                    self.lags = await lags_of(admin, consumer, generation)
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


async def lags_of(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, generation: int) -> dict[str, int]:
    """Records that each stage of a generation has not committed yet; the answer stage is that of all of them."""
    return {
        stage: await _lag(admin, consumer, group_of(stage, generation), of_generation(topic, generation))
        for stage, (_, topic) in GROUP_OF_STAGE.items()
    }


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
