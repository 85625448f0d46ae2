"""The gateway: an ASGI application without state of its own. Run as many as you like behind one address."""

from fastapi import FastAPI
from fastapi.routing import APIRoute

from gateway import health, problems, search
from gateway.chat import endpoints as chat
from gateway.dead_letters import endpoints as dead_letters
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


def _name(route: APIRoute) -> str:
    return route.name


def create_app(settings: GatewaySettings) -> FastAPI:
    """Make the application; `gateway.serve` gives it its connections."""
    app = FastAPI(title="Millrace", version="0.1.0", description=DESCRIPTION, generate_unique_id_function=_name)
    problems.install(app)
    app.include_router(documents.router)
    app.include_router(dead_letters.router)
    app.include_router(search.router)
    app.include_router(chat.router)
    app.include_router(health.router)
    app.add_middleware(LimitBody, bytes_max=settings.json_bytes_max, streamed=documents.router.prefix)
    app.add_middleware(Observe)
    return app
