"""Writing to the log: acknowledged, refused in words, or given up in time."""

import time
from pathlib import Path

import pytest

from db.pool import Pool
from gateway.problems import BodyTooLarge
from millrace.local import Home, LocalKafka
from millrace.local.ports import free_port
from schemas.broker import BrokerSettings, ensure_topics
from schemas.events import DocumentSubmitted, TextContent
from schemas.topics import CHAT_REQUESTED
from tests.gateway.inside import inside
from tests.gateway.requests import problem_type


async def test_a_broker_that_went_away_is_a_problem_in_time(
    pool: Pool, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.producer.ACKNOWLEDGED_WITHIN_S", 1)
    with LocalKafka(Home(tmp_path, libs=Home.default().kafka_libs), free_port()) as kafka:
        broker = BrokerSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers})
        await ensure_topics(broker)
        async with inside(pool, tenant, broker=broker) as (http, _):
            assert (await http.post("/v1/documents", json={"text": "A mill."})).status_code == 202
            kafka.kill()
            started = time.monotonic()
            for path, body in (
                ("/v1/documents", {"text": "A mill."}),
                ("/v1/chat", {"message": "What?"}),
                ("/v1/chat", {"message": "What?", "stream": True}),
            ):
                response = await http.post(path, json=body)
                assert (response.status_code, problem_type(response)) == (503, "broker-unavailable")
                assert "unknown" in response.json()["detail"]
            assert time.monotonic() - started < 10
            kafka.start()  # on its port: the producer can stop once it got rid of what it holds


async def test_an_event_that_its_topic_does_not_take(environment: dict[str, str], pool: Pool, tenant: str) -> None:
    event = DocumentSubmitted(
        tenant_id=tenant,
        document_id="d",
        media_type="text/plain",
        content=TextContent(text="\x01" * 262_144),
    )
    async with inside(pool, tenant) as (_, state):
        with pytest.raises(BodyTooLarge):
            await state.publish(CHAT_REQUESTED, event, "")
