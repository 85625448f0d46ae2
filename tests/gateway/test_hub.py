"""The hub hands on what its subscribers asked for, and lets go of who is too slow."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.hub import QUEUED_EVENTS_MAX, Hub, Slow
from schemas.broker import BrokerSettings
from schemas.events import ChatDelta, DocumentStatus, Event, Origin, State
from schemas.topics import CHAT_EVENTS, STATUS
from schemas.wire import encode
from tests.streams.topic import writing

DEADLINE_S = 20


@pytest.fixture(scope="module")
async def hub(environment: dict[str, str]) -> AsyncIterator[Hub]:
    hub = Hub(BrokerSettings())
    async with hub.running():
        yield hub


def status(tenant: str, document_id: str, done: int = 0) -> DocumentStatus:
    return DocumentStatus(
        tenant_id=tenant,
        document_id=document_id,
        origin=Origin(partition=0, position=1),
        state=State.EMBEDDING,
        chunks_done=done,
    )


def delta(tenant: str, request_id: str) -> ChatDelta:
    return ChatDelta(tenant_id=tenant, conversation_id="c", request_id=request_id, index=0, text="So")


async def tell(*events: Event) -> None:
    async with writing() as kafka:
        for event in events:
            key, value, headers = encode(event)
            topic = STATUS if isinstance(event, DocumentStatus) else CHAT_EVENTS
            await kafka.send(topic.name, value, key=key, headers=headers, partition=0)
        await kafka.flush()


async def test_each_subscriber_gets_its_own(hub: Hub, tenant: str) -> None:
    with (
        hub.document(tenant, "a") as first,
        hub.document(tenant, "a") as second,
        hub.chat(tenant, "r") as chat,
        hub.document(f"{tenant}-2", "a") as foreign,
    ):
        async with writing() as kafka:
            await kafka.send_and_wait(STATUS.name, b"no event at all", key=f"{tenant}/a".encode(), partition=0)
        await tell(status(tenant, "b"), status(tenant, "a", 1), delta(tenant, "q"), delta(tenant, "r"))
        await tell(status(tenant, "a", 2), status(f"{tenant}-2", "a", 3))
        async with asyncio.timeout(DEADLINE_S):
            for subscription in (first, second):
                assert [(await subscription.get()).model_dump()["chunks_done"] for _ in range(2)] == [1, 2]
            assert (await chat.get()).model_dump()["request_id"] == "r"
            assert (await foreign.get()).model_dump()["chunks_done"] == 3
    assert not hub._subscriptions


async def test_who_does_not_keep_up_is_told(hub: Hub, tenant: str) -> None:
    with hub.document(tenant, "a") as slow, hub.document(tenant, "b") as quick:
        await tell(*(status(tenant, "a", done) for done in range(QUEUED_EVENTS_MAX + 1)), status(tenant, "b"))
        async with asyncio.timeout(DEADLINE_S):
            await quick.get()
            with pytest.raises(Slow):
                await slow.get()
        await tell(status(tenant, "a", 7))
        async with asyncio.timeout(DEADLINE_S):
            assert (await slow.get()).model_dump()["chunks_done"] == 7


async def test_nothing_that_goes_wrong_ends_it(hub: Hub, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.hub.RETRY_S", 0)
    with hub.document(tenant, "a") as broken, hub.document(tenant, "b") as sound:
        monkeypatch.setattr(broken, "put", None)
        await tell(status(tenant, "a"), status(tenant, "b", 1))
        async with asyncio.timeout(DEADLINE_S):
            assert (await sound.get()).model_dump()["chunks_done"] == 1
    assert hub.alive


async def test_a_subscription_begins_where_it_was_made(hub: Hub, tenant: str) -> None:
    await tell(status(tenant, "a", 1))
    with hub.document(tenant, "mark") as mark:
        await tell(status(tenant, "mark"))
        async with asyncio.timeout(DEADLINE_S):
            await mark.get()
    with hub.document(tenant, "a") as subscription:
        await tell(status(tenant, "a", 2))
        async with asyncio.timeout(DEADLINE_S):
            assert (await subscription.get()).model_dump()["chunks_done"] == 2
