"""What a gateway holds while it runs, and how a request gets at it. None of it is lost with the process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from fastapi import Depends, FastAPI, Header, Query, Request

from db import positions
from db.blobs import Blobs, BlobSettings
from db.errors import PositionNotReached
from db.generations import Generation
from db.live import Live
from db.pool import DatabaseSettings, Pool, close, connect
from engine.embed import Embedder, EmbedderSettings
from engine.embedders import create_embedder
from gateway.admission import Admission
from gateway.hub import Hub
from gateway.lag import LagMeter
from gateway.problems import BodyTooLarge
from gateway.settings import GatewaySettings
from schemas.broker import BrokerSettings
from schemas.errors import BrokerUnavailable, InvalidPosition
from schemas.events import Event, TenantId
from schemas.log import log_id
from schemas.position import Position, position_of
from schemas.producer import Outgoing, Producer
from schemas.topics import Topic
from schemas.wire import encode

POSITION_HEADER = "X-Millrace-Position"
WAIT_HEADER = "X-Millrace-Wait"


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a running gateway."""

    settings: GatewaySettings
    pool: Pool
    blobs: Blobs
    embedder: Embedder
    hub: Hub
    lag: LagMeter
    admission: Admission
    kafka: Producer
    epoch: int
    log_id: str
    """Of the log that ``epoch`` numbers."""
    live: Live[Embedder]

    async def publish(self, topic: Topic, event: Event, traceparent: str) -> tuple[int, int]:
        """Write an event and return its partition and position once the broker acknowledged it.

        Raises `BrokerUnavailable`, and `BodyTooLarge` where the broker does not take an event of this size.
        """
        return await self.send(topic, encode(event, traceparent=traceparent))

    async def send(self, topic: Topic, record: Outgoing, partition: int | None = None) -> tuple[int, int]:
        """Write a record as it is, on the partition of its key if none is given; otherwise as `publish`."""
        try:
            [written] = await self.kafka.send(topic, [record], partition)
        except KafkaTimeoutError as error:
            raise BrokerUnavailable(f"{error}; whether the event was written is unknown.") from error
        except MessageSizeTooLargeError as error:
            raise BodyTooLarge("It does not fit into one event.") from error
        except KafkaError as error:
            raise BrokerUnavailable from error
        if written.offset < 0:
            raise BrokerUnavailable("The event was written, but the broker did not say where.")
        return written.partition, position_of(self.epoch, written.offset)


@asynccontextmanager
async def open_state(settings: GatewaySettings) -> AsyncIterator[State]:
    """Connect everything, and disconnect it at the end."""
    broker = BrokerSettings()
    async with AsyncExitStack() as stack:
        pool = await connect(DatabaseSettings(), waiting_max=settings.database_waiting_max)
        stack.push_async_callback(close, pool)
        live = Live(DatabaseSettings(), pool, embedder_of)
        stack.push_async_callback(live.aclose)
        async with live.reading() as reader:
            embedder = reader.made
        log_written = await log_id(broker)
        epoch = await positions.epoch_of(pool, log_written)
        kafka = Producer(broker)
        await kafka.start()
        stack.push_async_callback(kafka.stop)
        hub = Hub(broker)
        await stack.enter_async_context(hub.running())
        lag = LagMeter(broker, pool)
        await stack.enter_async_context(lag.running())
        admission = Admission(settings, live, lag)
        blobs = Blobs(BlobSettings())
        yield State(settings, pool, blobs, embedder, hub, lag, admission, kafka, epoch, log_written, live)


def embedder_of(generation: Generation) -> Embedder:
    """The embedder that a generation's vectors are made with."""
    return create_embedder(EmbedderSettings(**generation.embedder))


def install(app: FastAPI, state: State) -> None:
    """Make the state available to requests."""
    app.state.gateway = state


async def get_gateway(request: Request) -> State:
    """The gateway's state, whichever generation of the index is live."""
    state: State = request.app.state.gateway
    return state


GatewayOf = Annotated[State, Depends(get_gateway)]


async def get_state(gateway: GatewayOf) -> AsyncIterator[State]:
    """The gateway's state for one request, which sees one generation of the index: the one that is live then."""
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


class Wanted(NamedTuple):
    """The write that a read is to see, and how long it may wait for that, in seconds."""

    place: Position
    wait_s: float


async def get_wanted(
    state: StateOf,
    header: Annotated[str | None, Header(alias=POSITION_HEADER, description="The position of a write to see.")] = None,
    after: Annotated[str | None, Query(description=f"The same as the {POSITION_HEADER} header.")] = None,
    wait_header: Annotated[
        float | None, Header(alias=WAIT_HEADER, ge=0, description="Seconds to wait for it at most.")
    ] = None,
    wait: Annotated[float | None, Query(ge=0, description=f"The same as the {WAIT_HEADER} header.")] = None,
) -> Wanted | None:
    """The write that a read is to see, if it names one."""
    token = header or after
    if not token:
        return None
    waits_s = (wait_header, wait, state.settings.wait_timeout_s)
    return Wanted(Position.from_token(token), min(wait_s for wait_s in waits_s if wait_s is not None))


async def wait_until_settled(
    state: StateOf, tenant: Tenant, wanted: Annotated[Wanted | None, Depends(get_wanted)]
) -> None:
    """Let a read wait until the tables show a write, or how it ended."""
    if wanted:
        await positions.wait_until_settled(state.pool, tenant, wanted.place, wanted.wait_s)


async def wait_until_known(
    state: StateOf, tenant: Tenant, wanted: Annotated[Wanted | None, Depends(get_wanted)]
) -> None:
    """Let whoever follows a document wait until the tables know of a write."""
    if wanted:
        await positions.wait_until_known(state.pool, tenant, wanted.place, wanted.wait_s)


AfterPosition = Depends(wait_until_settled)
FromPosition = Depends(wait_until_known)
AFTER_POSITION_ERRORS = (InvalidPosition, PositionNotReached)
