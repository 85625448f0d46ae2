"""The log's id: the same while the log is the same, another one once it was deleted or wiped."""

from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from millrace.local import Home, LocalKafka
from millrace.local.ports import free_port
from schemas import log
from schemas.broker import BrokerSettings, ensure_topics
from schemas.errors import TopicMismatch
from schemas.log import LogChanged, log_id, until_log_changes
from schemas.topics import SUBMITTED
from tests.conditions import eventually


async def test_another_log_has_another_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOOK_EVERY_S", 0.05)
    ids = []
    port = free_port()
    settings = BrokerSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})

    async def current() -> str:
        try:
            return await log_id(settings)
        except TopicMismatch:
            return ""

    with LocalKafka(Home(tmp_path / "a", libs=Home.default().kafka_libs), port):
        with pytest.raises(TopicMismatch, match=r"documents\.submitted: missing"):
            await log_id(settings)
        await ensure_topics(settings)
        ids.append(await log_id(settings))
        assert await log_id(settings) == ids[0]
        client = AIOKafkaAdminClient(**settings.client())
        await client.start()
        await client.delete_topics([SUBMITTED.name])
        await client.close()
        with pytest.raises(LogChanged):
            await until_log_changes(settings, ids[0])
        await ensure_topics(settings)
        ids.append(await eventually(current))
        with pytest.raises(LogChanged, match="became"):
            await until_log_changes(settings, ids[0])
    with LocalKafka(Home(tmp_path / "b", libs=Home.default().kafka_libs), port):
        await ensure_topics(settings)
        ids.append(await log_id(settings))
    assert len(set(ids)) == 3
    assert ids[0].partition("/")[0] == ids[1].partition("/")[0] != ids[2].partition("/")[0]
