"""A gateway whose log has become another one ends by itself, and goes on behind it once started again."""

import httpx
from aiokafka.admin import AIOKafkaAdminClient

from millrace.local.process import Child
from schemas.broker import ensure_topics
from schemas.errors import TopicMismatch
from schemas.log import log_id
from schemas.position import OFFSET_BITS
from schemas.topics import SUBMITTED
from tests.conditions import eventually
from tests.gateway.alone import Alone
from tests.gateway.processes import started


async def test_topics_that_were_deleted_and_made_anew(alone: Alone, tenant: str) -> None:
    async def write(url: str) -> int:
        async with httpx.AsyncClient(base_url=url, headers={"X-Millrace-Tenant": tenant}, timeout=60) as http:
            response = await http.post("/v1/documents", json={"text": "A mill.", "document_id": "d"})
        assert response.status_code == 202, response.text
        return int(response.json()["revision"])

    async def is_new(known: str) -> bool:
        try:
            return await log_id(alone.broker) != known
        except TopicMismatch:
            await ensure_topics(alone.broker)
            return False

    async def has_ended(child: Child) -> bool:
        return not child.is_running

    logs, known = alone.folder / "logs", await log_id(alone.broker)
    environment = alone.environment | {"MILLRACE_GATEWAY_LAG_MAX": "1000000"}
    with started("gateway", logs, environment) as (url, child):
        first = await write(url)
        admin = AIOKafkaAdminClient(**alone.broker.client())
        await admin.start()
        await admin.delete_topics([SUBMITTED.name])
        await admin.close()
        await eventually(lambda: is_new(known), deadline_s=60)
        await eventually(lambda: has_ended(child), deadline_s=60)
        assert "another one than when this process started" in child.log_tail()
    with started("gateway", logs, environment) as (url, _):
        assert await write(url) >> OFFSET_BITS == (first >> OFFSET_BITS) + 1
