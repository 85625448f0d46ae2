"""What a gateway holds while it runs, and how a request gets at it. None of it is lost with the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Annotated

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from fastapi import Depends, FastAPI, Header, Query, Request

from db import positions
from db.blobs import Blobs, BlobSettings
from db.errors import PositionNotReached
from db.generations import Generation
from db.live import Live
from db.pool import DatabaseSettings, Pool, close, connect
from engine.embed import Embedder, EmbedderSettings
from engine.embedders import create_embedder
from gateway.hub import Hub
from gateway.lag import LagMeter
from gateway.problems import BodyTooLarge, Overloaded
from gateway.settings import GatewaySettings
from schemas.broker import BrokerSettings, cluster_id, producer
from schemas.errors import BrokerUnavailable, InvalidPosition
from schemas.events import Event, TenantId
from schemas.position import Position, position_of
from schemas.topics import Topic
from schemas.wire import encode

POSITION_HEADER = "X-Millrace-Position"
ACKNOWLEDGED_WITHIN_S = 15
"""Longer than one request to the broker may take. An idempotent producer never gives an event up by itself, since it
could not number the ones behind it any more."""
PIPELINE_STAGES = ("parse", "embed", "index")
"""What a document goes through."""


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a running gateway."""

    settings: GatewaySettings
    pool: Pool
    blobs: Blobs
    embedder: Embedder
    hub: Hub
    lag: LagMeter
    kafka: AIOKafkaProducer
    epoch: int
    live: Live[Embedder]

    async def publish(self, topic: Topic, event: Event, traceparent: str) -> Position:
        """Write an event and return its position once the broker acknowledged it.

        Raises `BrokerUnavailable`, and `BodyTooLarge` where the broker does not take an event of this size.
        """
        key, value, headers = encode(event, traceparent=traceparent)
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                written = await self.kafka.send_and_wait(topic.name, value, key=key, headers=headers)
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"No acknowledgement within {ACKNOWLEDGED_WITHIN_S:g} s; whether the event was written is unknown."
            ) from error
        except MessageSizeTooLargeError as error:
            raise BodyTooLarge("It does not fit into one event.") from error
        except KafkaError as error:
            raise BrokerUnavailable from error
        return Position(written.partition, position_of(self.epoch, written.offset))

    def refuse_overload(self) -> None:
        """Raises `Overloaded` where the pipeline is further behind than it may be; a lag that is unknown is none."""
        lag = sum((self.lag.lags or {}).get(stage, 0) for stage in PIPELINE_STAGES)
        if lag > self.settings.lag_max:
            raise Overloaded(f"{lag} events behind, where {self.settings.lag_max} are allowed.")


@asynccontextmanager
async def open_state(settings: GatewaySettings) -> AsyncIterator[State]:
    """Connect everything, and disconnect it at the end."""
    broker = BrokerSettings()
    async with AsyncExitStack() as stack:
        pool = await connect(DatabaseSettings())
        stack.push_async_callback(close, pool)
        live = Live(DatabaseSettings(), pool, embedder_of)
        stack.push_async_callback(live.aclose)
        async with live.reading() as reader:
            embedder = reader.made
        epoch = await positions.epoch_of(pool, await cluster_id(broker))
        kafka = producer(broker)
        await kafka.start()
        stack.push_async_callback(_stop, kafka)
        hub = Hub(broker)
        await stack.enter_async_context(hub.running())
        lag = LagMeter(broker, pool)
        await stack.enter_async_context(lag.running())
        yield State(settings, pool, Blobs(BlobSettings()), embedder, hub, lag, kafka, epoch, live)


def embedder_of(generation: Generation) -> Embedder:
    """The embedder that a generation's vectors are made with."""
    return create_embedder(EmbedderSettings(**generation.embedder))


async def _stop(kafka: AIOKafkaProducer) -> None:
    """Disconnect; where the broker is away, what it has not acknowledged is given up after a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
            await kafka.stop()


def install(app: FastAPI, state: State) -> None:
    """Make the state available to requests."""
    app.state.gateway = state


async def get_gateway(request: Request) -> State:
    """The gateway's state, whichever generation of the index is live."""
    state: State = request.app.state.gateway
    return state


GatewayOf = Annotated[State, Depends(get_gateway)]


async def get_state(gateway: GatewayOf) -> AsyncIterator[State]:
    """The gateway's state for one request, which sees one generation of the index: the one that is live at its start."""
    async with gateway.live.reading() as reader:
        yield replace(gateway, pool=reader.pool, embedder=reader.made)


StateOf = Annotated[State, Depends(get_state)]


async def get_tenant(
    state: StateOf,
    tenant: Annotated[
        TenantId | None,
        Header(alias="X-Millrace-Tenant", description="Whose documents; the default tenant's if absent."),
    ] = None,
) -> str:
    """The tenant that a request is about."""
    tenant = tenant or state.settings.default_tenant
    structlog.contextvars.bind_contextvars(tenant_id=tenant)
    return tenant


Tenant = Annotated[str, Depends(get_tenant)]


async def get_traceparent(request: Request) -> str:
    """The request's trace context."""
    traceparent: str = request.state.traceparent
    return traceparent


Traceparent = Annotated[str, Depends(get_traceparent)]


async def wait_for_position(
    state: StateOf,
    tenant: Tenant,
    header: Annotated[str | None, Header(alias=POSITION_HEADER, description="The position of a write to see.")] = None,
    after: Annotated[str | None, Query(description=f"The same as the {POSITION_HEADER} header.")] = None,
) -> None:
    """Let a read wait until the tables show a write."""
    token = header or after
    if token:
        place = Position.from_token(token)
        await positions.wait_until_indexed(state.pool, tenant, place, state.settings.wait_timeout_s)


AfterPosition = Depends(wait_for_position)
AFTER_POSITION_ERRORS = (InvalidPosition, PositionNotReached)
