import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from millrace.local.ports import free_port
from schemas.broker import BrokerSettings, ensure_topics
from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.events import INLINE_TEXT_CHARS_MAX, DocumentSubmitted, TextContent
from schemas.log import log_id
from schemas.producer import Producer
from schemas.topics import CHUNKED, STATUS, SUBMITTED, TOPICS, Topic
from schemas.wire import encode


class Kafka(Protocol):
    bootstrap_servers: str


@pytest.fixture
def settings(kafka: Kafka) -> BrokerSettings:
    return BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers)


@pytest.fixture
def topics() -> list[Topic]:
    """The declared topics under names of this test alone, so that it can spoil them."""
    prefix = uuid.uuid4().hex
    return [dataclasses.replace(topic, name=f"{prefix}.{topic.name}") for topic in TOPICS]


@asynccontextmanager
async def admin(settings: BrokerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**settings.client())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def test_creates_what_is_missing_and_is_then_content(settings: BrokerSettings, topics: list[Topic]) -> None:
    first = await ensure_topics(settings, topics)
    assert [(report.topic, report.created, report.differences) for report in first] == [
        (topic, True, ()) for topic in topics
    ]
    second = await ensure_topics(settings, topics)
    assert [(report.created, report.differences) for report in second] == [(False, ())] * len(topics)


async def test_the_broker_holds_what_was_declared(settings: BrokerSettings, topics: list[Topic]) -> None:
    await ensure_topics(settings, topics)
    async with admin(settings) as client:
        described = await client.describe_topics([topic.name for topic in topics])
    assert {topic["topic"]: len(topic["partitions"]) for topic in described} == {
        topic.name: topic.partitions for topic in topics
    }


async def test_only_looks_where_it_must_not_create(settings: BrokerSettings, topics: list[Topic]) -> None:
    for _ in range(2):  # A look must not make the broker create them either.
        reports = await ensure_topics(settings, topics, create=False)
        assert [(report.created, report.differences) for report in reports] == [(False, ("missing",))] * len(topics)


async def test_another_number_of_partitions_is_refused(settings: BrokerSettings, topics: list[Topic]) -> None:
    async with admin(settings) as client:
        await client.create_topics([NewTopic(topics[0].name, 3, 1)])
    with pytest.raises(TopicMismatch, match=f"{topics[0].name}: partitions 3, declared 8"):
        await ensure_topics(settings, topics)


async def test_other_settings_are_reported(settings: BrokerSettings, topics: list[Topic]) -> None:
    status = topics[TOPICS.index(STATUS)]
    async with admin(settings) as client:
        await client.create_topics([NewTopic(status.name, status.partitions, 1)])
    reports = {report.topic.name: report for report in await ensure_topics(settings, topics)}
    assert "cleanup.policy delete, declared compact" in reports[status.name].differences
    assert not reports[status.name].created
    assert all(not report.differences for name, report in reports.items() if name != status.name)


async def test_several_can_start_at_once(settings: BrokerSettings, topics: list[Topic]) -> None:
    runs = await asyncio.gather(*(ensure_topics(settings, topics) for _ in range(4)))
    assert all(not report.differences for run in runs for report in run)
    assert sum(report.created for run in runs for report in run) == len(topics)


async def test_too_few_brokers_for_the_replicas_is_said(settings: BrokerSettings, topics: list[Topic]) -> None:
    wide = settings.model_copy(update={"replication_factor": 3})
    with pytest.raises(TopicMismatch, match="could not be created: InvalidReplicationFactorError"):
        await ensure_topics(wide, topics)


async def test_no_broker_is_said() -> None:
    nowhere = BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnavailable, match=nowhere.bootstrap_servers):
        await ensure_topics(nowhere)
    with pytest.raises(BrokerUnavailable, match=nowhere.bootstrap_servers):
        await log_id(nowhere)


async def test_the_longest_inline_text_fits(settings: BrokerSettings, topics: list[Topic]) -> None:
    """In characters that take the most room in JSON."""
    submitted = topics[TOPICS.index(SUBMITTED)]
    await ensure_topics(settings, topics)
    text = "\x01" * INLINE_TEXT_CHARS_MAX
    record = encode(
        DocumentSubmitted(tenant_id="acme", document_id="long", media_type="text/plain", content=TextContent(text=text))
    )
    sender = Producer(settings)
    await sender.start()
    try:
        [placed] = await sender.send(submitted, [record])
    finally:
        await sender.stop()
    assert placed.offset == 0


def test_a_document_stays_in_its_partition_from_stage_to_stage() -> None:
    assert len({topic.partitions for topic in TOPICS}) == 1
    assert CHUNKED.max_message_bytes >= SUBMITTED.max_message_bytes
