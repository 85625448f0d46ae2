"""Liveness, readiness and metrics."""

import asyncpg
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from db.errors import OUTAGES
from gateway.state import StateOf

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process is alive."""

    status: str = "ok"


class Readiness(BaseModel):
    """What requests depend on."""

    ready: bool
    broker: bool
    database: bool
    lag: dict[str, int] | None = Field(description="Records that each stage is behind; null while unknown.")


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Always, if it answers."""
    return Health()


@router.get("/readyz", summary="Can it serve?", responses={503: {"model": Readiness, "description": "Not now."}})
async def readyz(state: StateOf, response: Response) -> Readiness:
    """Whether broker and database answer, and no stage is too far behind."""
    lags = state.lag.lags
    readiness = Readiness(ready=False, broker=lags is not None, database=await _database(state), lag=lags)
    readiness.ready = (
        readiness.broker and readiness.database and all(lag <= state.settings.lag_max for lag in (lags or {}).values())
    )
    if not readiness.ready:
        response.status_code = 503
    return readiness


async def _database(state: StateOf) -> bool:
    try:
        await state.pool.fetchval("SELECT 1", timeout=2)
    except (OSError, *OUTAGES, asyncpg.PostgresError):
        return False
    return True


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def metrics() -> Response:
    """In the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
