"""Moving the leadership of partitions, with the two requests that aiokafka's admin client does not know."""

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

from schemas.topics import TOPICS

REQUEST_TIMEOUT_MS = 10_000

Partitions = Mapping[str, Mapping[int, list[int]]]
"""By topic and partition the nodes with a copy; the first is the preferred leader."""


class _ReassignedV0(Response):  # type: ignore[misc]
    API_KEY = 45
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "responses",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _ReassignV0(RequestStruct):  # type: ignore[misc]
    API_KEY = 45
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ReassignedV0
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(("partition_index", Int32), ("replicas", CompactArray(Int32)), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Reassign(Request[_ReassignV0]):  # type: ignore[misc]
    """AlterPartitionReassignments: the same nodes in another order make another one the preferred leader."""

    API_KEY = 45

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[_ReassignV0]) -> _ReassignV0:
        topics: list[tuple[Any, ...]] = [
            (name, [(number, nodes, {}) for number, nodes in each.items()], {})
            for name, each in self._partitions.items()
        ]
        return request_struct_class(REQUEST_TIMEOUT_MS, topics, {})


class _ElectedV0(Response):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(("partition_id", Int32), ("error_code", Int16), ("error_message", String("utf-8"))),
                ),
            ),
        ),
    )


class _ElectV0(RequestStruct):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 0
    RESPONSE_TYPE = _ElectedV0
    SCHEMA = Schema(
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class _Elect(Request[_ElectV0]):  # type: ignore[misc]
    """ElectLeaders: the preferred one leads, if it is in sync."""

    API_KEY = 43

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[_ElectV0]) -> _ElectV0:
        return request_struct_class([(name, list(each)) for name, each in self._partitions.items()], REQUEST_TIMEOUT_MS)


async def move_leaders(bootstrap_servers: str) -> int:
    """Let another node lead each partition that we and Kafka itself keep; returns how many have another leader now.

    Those whose preferred leader is not in sync stay. Raises KafkaError where the brokers cannot be asked.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        before = await _described(admin)
        turned = {
            name: {number: [*nodes[1:], nodes[0]] for number, (_, nodes) in each.items()}
            for name, each in before.items()
        }
        for request in (_Reassign(turned), _Elect(turned)):
            await admin._send_request(request)
        after = await _described(admin)
    finally:
        await admin.close()
    return sum(
        after[name][number][0] != leader for name, each in before.items() for number, (leader, _) in each.items()
    )


async def _described(admin: AIOKafkaAdminClient) -> dict[str, dict[int, tuple[int, list[int]]]]:
    """Leader, and nodes with the current leader first, of each partition."""
    wanted = {topic.name for topic in TOPICS} | {"__consumer_offsets"}
    topics: list[dict[str, Any]] = [each for each in await admin.describe_topics() if each["topic"] in wanted]
    return {
        topic["topic"]: {
            each["partition"]: (
                each["leader"],
                sorted(each["replicas"], key=lambda node: (node != each["leader"], node)),
            )
            for each in topic["partitions"]
        }
        for topic in topics
    }
