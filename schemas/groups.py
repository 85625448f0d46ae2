"""Consumer groups: who is in them, how far they are, and how they go."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    GroupIdNotFound,
    KafkaError,
    NodeNotReadyError,
    NonEmptyGroup,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest, DescribeGroupsRequest_v2
from aiokafka.protocol.api import Request

from schemas.broker import BrokerSettings, admin_client
from schemas.errors import BrokerUnavailable, MillraceError
from schemas.topics import Topic

EMPTY_WITHIN_S = 60
"""For workers to leave a group; one that was killed counts as a member until its session times out."""
POLL_S = 0.5


class GroupInUse(MillraceError):
    """Workers are still members of a consumer group that is to be deleted."""

    type = "group-in-use"
    hint = "They leave within seconds; if they hang, end them and try again."


async def committed(settings: BrokerSettings, group: str, topic: str, partition: int) -> int:
    """Up to which offset of a partition a group has committed; 0 before the first. Raises `BrokerUnavailable`."""
    place = TopicPartition(topic, partition)
    async with admin_client(settings) as admin:
        offsets = await admin.list_consumer_group_offsets(group, partitions=[place])
    return max(offsets[place].offset, 0) if place in offsets else 0


async def members(settings: BrokerSettings, groups: Sequence[str]) -> dict[str, int]:
    """How many workers each group has now. Raises `BrokerUnavailable`."""
    async with _coordinators(settings) as ask:
        answers = [await ask(group, _DescribeGroups([group])) for group in groups]
    return {group[1]: len(group[5]) for answer in answers for group in answer.groups}


async def delete_groups(settings: BrokerSettings, groups: Sequence[str], *, within_s: float = EMPTY_WITHIN_S) -> None:
    """Delete groups once nobody is in them; those that are gone do not matter.

    Raises `GroupInUse` and `BrokerUnavailable`.
    """
    deadline = time.monotonic() + within_s
    async with _coordinators(settings) as ask:
        for group in groups:
            while not _is_gone(group, await ask(group, DeleteGroupsRequest([group]))):
                if time.monotonic() > deadline:
                    raise GroupInUse(group)
                await asyncio.sleep(POLL_S)


async def delete_topics(settings: BrokerSettings, topics: Sequence[Topic]) -> None:
    """Delete topics; those that are gone do not matter. Raises `BrokerUnavailable`."""
    async with admin_client(settings) as admin:
        response = await admin.delete_topics([topic.name for topic in topics])
    for name, code in response.topic_error_codes:
        if code and for_code(code) is not UnknownTopicOrPartitionError:
            raise BrokerUnavailable(f"{name}: {for_code(code).__name__}.")


def _is_gone(group: str, answer: Any) -> bool:
    """Whether a group is deleted; false while somebody is in it."""
    [(_, code)] = answer.results
    error = for_code(code)
    if error is NonEmptyGroup:
        return False
    if code and error is not GroupIdNotFound:
        raise error(group)
    return True


@asynccontextmanager
async def _coordinators(settings: BrokerSettings) -> AsyncIterator[Callable[[str, Any], Awaitable[Any]]]:
    """A way to send requests to the brokers that coordinate groups."""
    client = AIOKafkaClient(**settings.client())

    async def ask(group: str, request: Any) -> Any:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        if not await client.ready(node, group=ConnectionGroup.COORDINATION):
            raise NodeNotReadyError(node)
        return await client.send(node, request, group=ConnectionGroup.COORDINATION)

    try:
        await client.bootstrap()
        yield ask
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(settings.bootstrap_servers) from error
    finally:
        await client.close()


class _DescribeGroups(Request[DescribeGroupsRequest_v2]):  # type: ignore[misc]
    """aiokafka's own goes up to version 3, whose answers it reads as those of version 2."""

    API_KEY = 15

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = list(groups)

    def build(self, request_struct_class: type[DescribeGroupsRequest_v2]) -> DescribeGroupsRequest_v2:
        return request_struct_class(self._groups)
