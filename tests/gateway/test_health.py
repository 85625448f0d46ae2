"""What the gateway says of itself."""

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from db.pool import DatabaseSettings, close, connect
from schemas.topics import GROUP_OF_STAGE
from tests.conditions import eventually
from tests.gateway.inside import inside


async def test_alive(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_ready(http: httpx.AsyncClient) -> None:
    response = await http.get("/readyz")
    assert response.status_code == 200
    said = response.json()
    lag = said.pop("lag")
    assert said == {"ready": True, "broker": True, "database": True, "hub": True}
    assert lag.keys() == GROUP_OF_STAGE.keys()
    assert all(isinstance(each, int) and each >= 0 for each in lag.values())


async def test_neither_hub_nor_a_free_connection(environment: dict[str, str], tenant: str) -> None:
    pool = await connect(DatabaseSettings(pool_size=1))
    async with inside(pool, tenant) as (http, state):
        state.lag.stages = {}
        said = (await http.get("/readyz")).json()
        assert said == {"ready": False, "broker": True, "database": True, "hub": False, "lag": {}}
        async with pool.acquire():
            started = time.monotonic()
            response = await http.get("/readyz")
            assert time.monotonic() - started < 5
            assert (response.status_code, response.json()["database"]) == (503, False)
    await close(pool)


async def test_lag_goes_back_to_nothing(http: httpx.AsyncClient) -> None:
    accepted = (await http.post("/v1/documents", json={"text": "A mill."})).json()
    await http.get("/v1/documents", headers={"X-Millrace-Position": accepted["position"]})

    async def caught_up() -> bool:
        return not any((await http.get("/readyz")).json()["lag"].values())

    await eventually(caught_up)


async def test_metrics(http: httpx.AsyncClient, tenant: str) -> None:
    await http.get("/v1/documents/nothing")
    await http.get(f"/nowhere/{tenant}")
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    requests = {
        (each.labels["route"], each.labels["status"])
        for each in families["millrace_http_request_seconds"].samples
        if each.name.endswith("_count")
    }
    assert {("/v1/documents/{document_id}", "404"), ("unmatched", "404")} <= requests
    assert {each.labels["stage"] for each in families["millrace_stage_lag_records"].samples} == GROUP_OF_STAGE.keys()
    assert tenant not in response.text
