"""The gateway: an ASGI application without state of its own. Run as many as you like behind one address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway import health, problems, search, state
from gateway.chat import endpoints as chat
from gateway.documents import endpoints as documents
from gateway.middleware import LimitBody, Observe
from gateway.settings import GatewaySettings

DESCRIPTION = """
Documents go in, flow through Kafka and are searchable milliseconds after they were acknowledged; questions are answered
with citations down to the character.

* **Writes** answer `202` with a `position`; a read that carries it in `X-Millrace-Position` (or `?after=`) sees them.
* **Errors** are problem details (RFC 9457) whose `type` is stable.
* **Tenants**: everything belongs to the tenant named in `X-Millrace-Tenant`.
"""


def create_app(settings: GatewaySettings | None = None) -> FastAPI:
    """Make the application; it connects when it starts up. Settings come from the environment if not given."""
    settings = settings or GatewaySettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with state.open_state(settings) as opened:
            state.install(app, opened)
            yield

    app = FastAPI(title="Millrace", version="0.1.0", description=DESCRIPTION, lifespan=lifespan)
    problems.install(app)
    app.include_router(documents.router)
    app.include_router(search.router)
    app.include_router(chat.router)
    app.include_router(health.router)
    app.add_middleware(LimitBody, bytes_max=settings.json_bytes_max, streamed=documents.router.prefix)
    app.add_middleware(Observe)
    return app
