"""A gateway inside the test's own process, so that a test can take parts of it away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from db.blobs import Blobs, BlobSettings
from db.live import Live
from db.pool import DatabaseSettings, Pool
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from gateway import state as gateway_state
from gateway.admission import Admission
from gateway.app import create_app
from gateway.hub import Hub
from gateway.lag import LagMeter
from gateway.settings import GatewaySettings
from gateway.state import State, embedder_of
from schemas.broker import BrokerSettings
from schemas.producer import Producer


@asynccontextmanager
async def inside(
    pool: Pool,
    tenant: str,
    *,
    settings: GatewaySettings | None = None,
    blobs: Blobs | None = None,
    broker: BrokerSettings | None = None,
) -> AsyncIterator[tuple[httpx.AsyncClient, State]]:
    """HTTP to it as a tenant, and its parts. Its hub and its lag meter do not run: they know what a test tells them."""
    settings, broker = settings or GatewaySettings(), broker or BrokerSettings()
    kafka = Producer(broker)
    await kafka.start()
    embedder = create_embedder(EmbedderSettings())
    live = Live(DatabaseSettings(), pool, embedder_of)
    lag = LagMeter(broker, pool)
    admission = Admission(settings, live, lag)
    state = State(
        settings,
        pool,
        blobs or Blobs(BlobSettings()),
        embedder,
        Hub(broker),
        lag,
        admission,
        kafka,
        epoch=0,
        log_id="inside",
        live=live,
    )
    app = create_app(settings)
    gateway_state.install(app, state)
    transport, headers = httpx.ASGITransport(app, raise_app_exceptions=False), {"X-Millrace-Tenant": tenant}
    async with httpx.AsyncClient(transport=transport, base_url="http://g", headers=headers, timeout=30) as http:
        yield http, state
    await live.aclose()
    await kafka.stop()
