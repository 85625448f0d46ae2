"""Liveness, readiness and metrics."""

import asyncio

import asyncpg
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from db.errors import OUTAGES, DatabaseBusy
from gateway.state import GatewayOf, State

router = APIRouter(tags=["operations"])

DATABASE_TIMEOUT_S = 2
"""For the database's answer, a free connection included."""


class Health(BaseModel):
    """The process is alive."""

    status: str = "ok"


class Readiness(BaseModel):
    """What requests depend on."""

    ready: bool
    broker: bool
    database: bool
    hub: bool = Field(description="Whether events of the streams reach those who follow them.")
    lag: dict[str, int] | None = Field(description="Records that each stage is behind; null while unknown.")


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Always, if it answers."""
    return Health()


@router.get("/readyz", summary="Can it serve?", responses={503: {"model": Readiness, "description": "Not now."}})
async def readyz(state: GatewayOf, response: Response) -> Readiness:
    """Whether broker and database answer. Lag is told, but is no reason: reads go on, and writes are refused."""
    stages = state.lag.stages
    lags = None if stages is None else {name: stage.records for name, stage in stages.items()}
    broker, database, hub = lags is not None, await _database(state), state.hub.alive
    ready = broker and database and hub
    if not ready:
        response.status_code = 503
    return Readiness(ready=ready, broker=broker, database=database, hub=hub, lag=lags)


async def _database(state: State) -> bool:
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S):
            await state.pool.fetchval("SELECT 1")
    except (OSError, *OUTAGES, asyncpg.PostgresError):
        return False
    except DatabaseBusy:
        pass  # it answers others; a gateway that is taken out for that leaves its share to the rest
    return True


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def metrics() -> Response:
    """In the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
