"""The log: which one this is, and whether it still is the same.

Revisions are offsets in ``documents.submitted``. They begin again at 0 when the cluster was wiped or replaced, and when
the topic was deleted and made anew, so the log's id is the cluster's together with the topic's.
"""

import asyncio
import uuid
from contextlib import suppress
from io import BytesIO

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from schemas.broker import BrokerSettings
from schemas.errors import BrokerUnavailable, MillraceError, TopicMismatch
from schemas.topics import SUBMITTED

LOOK_EVERY_S = 5.0
"""A record written to another log in between has its place told wrongly."""


class LogChanged(MillraceError):
    """Kafka's log is another one than when this process started."""

    type = "log-changed"
    hint = "Its data was wiped, or the address leads elsewhere now; a restart begins its positions anew."


async def log_id(settings: BrokerSettings) -> str:
    """``cluster/topic``. Raises `BrokerUnavailable`, and `TopicMismatch` where the topic is missing."""
    client = AIOKafkaClient(**settings.client())
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), _Metadata(SUBMITTED.name))
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(settings.bootstrap_servers) from error
    finally:
        await client.close()
    [(error_code, _, topic_id, *_)] = answer.topics
    if error_code:
        raise TopicMismatch(f"{SUBMITTED.name}: missing.")
    return f"{answer.cluster_id}/{topic_id}"


async def until_log_changes(settings: BrokerSettings, known: str) -> None:
    """Look again and again; raises `LogChanged` once the log is not the known one any more."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        with suppress(BrokerUnavailable):
            try:
                current = await log_id(settings)
            except TopicMismatch as error:
                raise LogChanged(error.detail) from error
            if current != known:
                raise LogChanged(f"{known} became {current}.")


# aiokafka speaks metadata up to version 5; topics have an id since 10. Kafka 3.1 and later speak 12. (aiokafka is not
# typed: its classes are Any.)


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Metadata(Request[_MetadataRequest]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        return request_struct_class([(uuid.UUID(int=0), self._topic, {})], False, False, {})
