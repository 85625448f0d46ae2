"""The commands of docs/events.md do what they say."""

import dataclasses
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from schemas.broker import BrokerSettings, ensure_topics
from schemas.events import DocumentDeleted, DocumentStatus, DocumentSubmitted, TextContent
from schemas.examples import EXAMPLES
from schemas.topics import DAY_MS, DEAD_LETTER, STATUS, SUBMITTED, TOPICS, Topic
from schemas.wire import decode, encode

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
READ_TIMEOUT_MS = 20_000


class Kafka(Protocol):
    bootstrap_servers: str


@pytest.fixture
def settings(kafka: Kafka) -> BrokerSettings:
    return BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers)


@pytest.fixture
async def prefix(settings: BrokerSettings) -> str:
    """Before the names of the topics that the commands work on here, so that they disturb nobody."""
    prefix = f"{uuid.uuid4().hex}."
    await ensure_topics(settings, [renamed(topic, prefix) for topic in (SUBMITTED, STATUS, DEAD_LETTER)])
    return prefix


def renamed(topic: Topic, prefix: str) -> Topic:
    return dataclasses.replace(topic, name=prefix + topic.name)


def block(language: str, containing: str) -> str:
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", DOCUMENTATION, re.DOTALL) if containing in text]
    return str(found)


def run(settings: BrokerSettings, *command: str) -> str:
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def read(settings: BrokerSettings, topic: str, count: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(topic, **settings.client(), auto_offset_reset="earliest")
    await consumer.start()
    try:
        records: list[ConsumerRecord] = []
        while len(records) < count:
            batches = await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)
            assert batches, "nothing came"
            records += [record for batch in batches.values() for record in batch]
        return records
    finally:
        await consumer.stop()


async def test_kcat_and_aiokafka_submit_the_same_document(settings: BrokerSettings, prefix: str) -> None:
    topic = prefix + SUBMITTED.name
    run(settings, "sh", "-c", block("sh", "kcat -P").replace(SUBMITTED.name, topic))
    run(settings, sys.executable, "-c", block("python", "AIOKafkaProducer").replace(SUBMITTED.name, topic))
    records = await read(settings, topic, 2)
    for record in records:
        event, tail = decode(SUBMITTED.events, record.key, record.value, record.headers)
        assert isinstance(event, DocumentSubmitted)
        assert event.key() == b"acme/greeting"
        assert event.content == TextContent(text="Hello, river.")
        assert not tail
    assert len({record.partition for record in records}) == 1, "another partition is another order"
    assert len({dict(record.headers)["ce_id"] for record in records}) == 2


async def test_kcat_follows_the_status(settings: BrokerSettings, prefix: str) -> None:
    [status] = EXAMPLES[DocumentStatus]
    await send(settings, prefix + STATUS.name, *encode(status))
    command = block("sh", "documents.status").replace(STATUS.name, prefix + STATUS.name)
    # -e: leave at the end instead of waiting for more.
    told = run(settings, "sh", "-c", command.replace("kcat -C", "kcat -C -q -e"))
    key, body = told.strip().split(" ", 1)
    assert key.encode() == status.key()
    assert DocumentStatus.model_validate_json(body) == status


async def test_kcat_shows_the_reason_of_a_dead_letter(settings: BrokerSettings, prefix: str) -> None:
    key, value, headers = encode(EXAMPLES[DocumentDeleted][0])
    await send(settings, prefix + DEAD_LETTER.name, key, value, [*headers, ("error_type", b"invalid-event")])
    command = block("sh", "documents.dead-letter").replace(DEAD_LETTER.name, prefix + DEAD_LETTER.name)
    told = run(settings, "sh", "-c", command.replace("kcat -C", "kcat -C -q -e"))
    assert told.startswith(key.decode())
    assert "error_type=invalid-event" in told


async def send(
    settings: BrokerSettings, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    sender = AIOKafkaProducer(**settings.client())
    await sender.start()
    try:
        await sender.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await sender.stop()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_documentation_tells_each_topic_as_declared(topic: Topic) -> None:
    events = ", ".join(f"`{event.event_type.removeprefix('millrace.')}`" for event in topic.events) or "the original"
    days = topic.retention_ms // DAY_MS
    kept = "for ever" if topic.retention_ms < 0 else "1 day" if days == 1 else f"{days} days"
    kept = "the last of each key" if topic.compacted else kept
    assert f"| `{topic.name}` | {topic.key} | {events} | {kept} |" in DOCUMENTATION
