"""How far each stage of the live generation is behind its topic, in records and in time."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Gauge

from db import generations
from db.errors import OUTAGES, DatabaseBusy
from db.pool import Pool
from schemas.broker import BrokerSettings
from schemas.topics import FIRST_GENERATION, GROUP_OF_STAGE, Topic, group_of, of_generation

log = structlog.get_logger()

LAG = Gauge("millrace_stage_lag_records", "Records that a stage has not committed yet.", ["stage"])
AGE = Gauge("millrace_stage_lag_seconds", "Age of the oldest record that a stage has not committed yet.", ["stage"])
MEASURE_EVERY_S = 2.0
RATE_OVER_S = 20.0
"""Stages commit every few seconds: less would see bursts."""
LOOKS_MAX = 3_600
"""Looks back that a partition's age can count on: two hours, where it grows all the time."""


@dataclass(frozen=True, slots=True)
class StageLag:
    """How far a stage is behind."""

    records: int
    age_s: float
    """Of the oldest record that it has not committed, in its slowest partition; never older than this gateway."""
    per_s: float
    """Records that it has committed in a second lately."""


class StageCourse:
    """What was seen of a stage over time. Offsets are by partition, times in seconds of any steady clock."""

    def __init__(self) -> None:
        # By partition: when which end was seen, beginning with the newest that lies at or before what is committed.
        self._ends: dict[int, deque[tuple[float, int]]] = {}
        self._committed: deque[tuple[float, int]] = deque()

    def saw(self, at_s: float, ends: Mapping[int, int], committed: Mapping[int, int]) -> StageLag:
        """Add a look, and say where the stage stands now."""
        age_s = max(self._age_s(partition, at_s, end, committed[partition]) for partition, end in ends.items())
        self._committed.append((at_s, sum(committed.values())))
        while self._committed[0][0] < at_s - RATE_OVER_S:
            self._committed.popleft()
        first_s, first = self._committed[0]
        per_s = max(0.0, (self._committed[-1][1] - first) / (at_s - first_s)) if at_s > first_s else 0.0
        records = sum(max(0, end - committed[partition]) for partition, end in ends.items())
        return StageLag(records, age_s, per_s)

    def _age_s(self, partition: int, at_s: float, end: int, committed: int) -> float:
        seen = self._ends.setdefault(partition, deque(maxlen=LOOKS_MAX))
        if seen and seen[-1][1] == end:
            seen.pop()
        seen.append((at_s, end))
        # What lies behind an end was written after that end was seen.
        while len(seen) > 1 and seen[1][1] <= committed:
            seen.popleft()
        return at_s - seen[0][0] if committed < end else 0.0


class LagMeter:
    """Measures in the background; ``stages`` has the newest figures, None while the broker cannot be asked."""

    def __init__(self, settings: BrokerSettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._generation = FIRST_GENERATION
        self._courses = {stage: StageCourse() for stage in GROUP_OF_STAGE}
        self.stages: dict[str, StageLag] | None = None

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

    async def _look_up_generation(self) -> None:
        """Follow the live generation; while the database is away, the one that it was."""
        with suppress(OSError, *OUTAGES, DatabaseBusy, asyncpg.PostgresError):
            if self._generation != (number := (await generations.live(self._pool)).number):
                self._generation = number
                self._courses = {stage: StageCourse() for stage in GROUP_OF_STAGE}

    async def _run(self) -> None:
        while True:
            admin = AIOKafkaAdminClient(**self._settings.client())
            consumer = AIOKafkaConsumer(**self._settings.client(), enable_auto_commit=False)
            try:
                await admin.start()
                await consumer.start()
                while True:
                    await self._look_up_generation()
                    offsets = await offsets_of(admin, consumer, self._generation)
                    self.stages = {
                        stage: self._courses[stage].saw(time.monotonic(), *of_stage)
                        for stage, of_stage in offsets.items()
                    }
                    for stage, lag in self.stages.items():
                        LAG.labels(stage).set(lag.records)
                        AGE.labels(stage).set(lag.age_s)
                    await asyncio.sleep(MEASURE_EVERY_S)
            except Exception as error:
                # Whatever it is: no figure is better than an old one.
                self.stages = None
                log.warning("lag unknown", error=repr(error))
            finally:
                await consumer.stop()
                await admin.close()
            await asyncio.sleep(MEASURE_EVERY_S)


Offsets = tuple[dict[int, int], dict[int, int]]
"""The end of each partition, and what the group has committed of it; what retention removed counts as committed."""


async def offsets_of(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, generation: int) -> dict[str, Offsets]:
    """Where each stage of a generation stands; the answer stage is that of all of them."""
    return {
        stage: await _offsets(admin, consumer, group_of(stage, generation), of_generation(topic, generation))
        for stage, (_, topic) in GROUP_OF_STAGE.items()
    }


async def _offsets(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str, topic: Topic) -> Offsets:
    partitions = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    stored = await admin.list_consumer_group_offsets(group, partitions=partitions)
    committed = {
        each.partition: max(stored[each].offset, begins[each]) if each in stored else begins[each]
        for each in partitions
    }
    return {each.partition: ends[each] for each in partitions}, committed
