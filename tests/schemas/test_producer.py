"""A record that the broker rejects does not keep the next ones from being sent."""

import uuid
from dataclasses import replace

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.broker import BrokerSettings, ensure_topics
from schemas.producer import Producer
from schemas.topics import Topic
from tests.conftest import Broker

SMALL_BYTES = 10_000


@pytest.fixture
async def topic(kafka: Broker) -> Topic:
    declared = Topic(f"small-{uuid.uuid4().hex[:8]}", "Small.", "any", (), 1, 60_000, max_message_bytes=SMALL_BYTES)
    await ensure_topics(BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers), [declared])
    return declared


@pytest.fixture
def settings(kafka: Broker) -> BrokerSettings:
    return BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers)


async def test_what_does_not_fit_into_the_topic_is_not_sent(settings: BrokerSettings, topic: Topic) -> None:
    producer = Producer(settings)
    await producer.start()
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send(topic, [(b"k", b"x" * SMALL_BYTES, ())])
    [place] = await producer.send(topic, [(b"k", b"x", ())])
    assert place.offset == 0
    await producer.stop()


async def test_after_a_rejection_the_next_record_is_sent(settings: BrokerSettings, topic: Topic) -> None:
    producer = Producer(settings)
    await producer.start()
    # The broker takes less than this producer believes.
    generous = replace(topic, max_message_bytes=10 * SMALL_BYTES)
    for _ in range(2):
        with pytest.raises(KafkaError):
            await producer.send(generous, [(b"k", b"x" * 2 * SMALL_BYTES, ())])
        places = await producer.send(topic, [(b"k", b"x", ()), (b"k", b"y", ())])
        assert [place.offset - places[0].offset for place in places] == [0, 1]
    await producer.stop()
