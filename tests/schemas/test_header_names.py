"""Header names that are no text, on a real broker: everybody who may produce can write them."""

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer import message_accumulator, producer
from aiokafka.record import default_records

from schemas.broker import BrokerSettings


class RawName(str):
    """A header's name that is written as these bytes."""

    def __new__(cls, raw: bytes) -> "RawName":
        name = super().__new__(cls, raw.decode("latin-1"))
        name.raw = raw
        return name

    raw: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_header_name_that_is_no_text_is_read_like_all_others(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    settings = BrokerSettings()
    topic = f"names-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    # The compiled encoder knows nothing of subclasses of str.
    for module in (producer, message_accumulator):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", default_records._DefaultRecordBatchBuilderPy)
    names = [b"good", b"\xff\xfe", b"ce_\xc0id", "grün".encode(), b"good"]
    async with AIOKafkaProducer(**settings.client(), compression_type=compression, linger_ms=100) as writer:
        await asyncio.gather(
            *[
                await writer.send(topic, b"%d" % index, key=b"k", headers=[(RawName(name), b"v"), ("after", None)])
                for index, name in enumerate(names)
            ]
        )
    consumer = AIOKafkaConsumer(topic, **settings.client(), auto_offset_reset="earliest", enable_auto_commit=False)
    async with consumer, asyncio.timeout(20):
        records = [await consumer.getone() for _ in names]
    assert [record.offset for record in records] == list(range(len(names)))
    assert [record.value for record in records] == [b"%d" % index for index in range(len(names))]
    assert [record.headers for record in records] == [
        ((name.decode(errors="replace"), b"v"), ("after", None)) for name in names
    ]
