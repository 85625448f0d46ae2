"""Consumer groups: who is in them, how far they are, and how they go."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    GroupIdNotFound,
    KafkaError,
    NonEmptyGroup,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest

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
    async with admin_client(settings) as admin:
        responses = await admin.describe_consumer_groups(list(groups))
    return {group[1]: len(group[5]) for response in responses for group in response.groups}


async def delete_groups(settings: BrokerSettings, groups: Sequence[str], *, within_s: float = EMPTY_WITHIN_S) -> None:
    """Delete groups once nobody is in them; those that are gone do not matter.

    Raises `GroupInUse` and `BrokerUnavailable`.
    """
    deadline = time.monotonic() + within_s
    client = AIOKafkaClient(**settings.client())
    try:
        await client.bootstrap()
        for group in groups:
            while not await _delete_group(client, group):
                if time.monotonic() > deadline:
                    raise GroupInUse(group)
                await asyncio.sleep(POLL_S)
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(settings.bootstrap_servers) from error
    finally:
        await client.close()


async def delete_topics(settings: BrokerSettings, topics: Sequence[Topic]) -> None:
    """Delete topics; those that are gone do not matter. Raises `BrokerUnavailable`."""
    async with admin_client(settings) as admin:
        response = await admin.delete_topics([topic.name for topic in topics])
    for name, code in response.topic_error_codes:
        if code and for_code(code) is not UnknownTopicOrPartitionError:
            raise BrokerUnavailable(f"{name}: {for_code(code).__name__}.")


async def _delete_group(client: AIOKafkaClient, group: str) -> bool:
    """Whether it is gone; false while somebody is in it."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    await client.ready(node, group=ConnectionGroup.COORDINATION)
    response = await client.send(node, DeleteGroupsRequest([group]), group=ConnectionGroup.COORDINATION)
    [(_, code)] = response.results
    error = for_code(code)
    if error is NonEmptyGroup:
        return False
    if code and error is not GroupIdNotFound:
        raise error(group)
    return True
