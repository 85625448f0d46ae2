"""What there is no room for is refused before anything of it is stored, and let in once there is room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from gateway.admission import RETRY_AFTER_MAX_S, RETRY_AFTER_UNKNOWN_S, retry_after_s
from tests.conditions import eventually
from tests.gateway.alone import Alone
from tests.gateway.processes import started
from tests.gateway.requests import problem_type

TEXT = {"text": "A mill."}


def as_tenant(name: str) -> dict[str, str]:
    return {"X-Millrace-Tenant": name}


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and type of a refusal, once it says when to come again."""
    assert 1 <= int(response.headers["retry-after"]) <= RETRY_AFTER_MAX_S, response.text
    return response.status_code, problem_type(response)


async def refused(http: httpx.AsyncClient, reason: str) -> float:
    """How many requests the gateway says that it refused for a reason."""
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    samples = [sample for family in families for sample in family.samples if sample.name == "millrace_refused_total"]
    return sum(sample.value for sample in samples if sample.labels["reason"] == reason)


class SlowUpload:
    """An upload of so many bytes, of which all but the last are sent at once, and the last when it is told to end."""

    def __init__(self, http: httpx.AsyncClient, tenant: str, size_bytes: int, *, declared: bool = True) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        self._tail = b"\r\n--b--\r\n"
        self._body = head + b"a" * (size_bytes - len(head) - len(self._tail))
        self._end = asyncio.Event()
        headers = {"Content-Type": "multipart/form-data; boundary=b", **as_tenant(tenant)}
        if declared:
            headers["Content-Length"] = str(size_bytes)
        self._request = asyncio.create_task(http.post("/v1/documents", headers=headers, content=self._parts()))

    async def _parts(self) -> AsyncIterator[bytes]:
        yield self._body
        await self._end.wait()
        yield self._tail

    async def end(self) -> httpx.Response:
        """Send the rest; the answer."""
        self._end.set()
        return await self._request


async def in_flight(http: httpx.AsyncClient, size_bytes: int) -> None:
    async def held() -> bool:
        families = text_string_to_metric_families((await http.get("/metrics")).text)
        return any(f.name == "millrace_in_flight_bytes" and f.samples[0].value == size_bytes for f in families)

    await eventually(held)


async def test_lag_refuses_writes_and_neither_reads_nor_deletions(alone: Alone, tenant: str) -> None:
    async with alone.gateway(gateway_lag_max=3) as http:
        for index in range(5):
            accepted = await http.post(
                "/v1/documents", json={**TEXT, "document_id": f"d{index}"}, headers=as_tenant(tenant)
            )
            assert accepted.status_code == 202

        async def is_refused() -> bool:
            response = await http.post("/v1/documents", json=TEXT, headers=as_tenant(tenant))
            return response.status_code == 503 and refusal(response) == (503, "overloaded")

        await eventually(is_refused)
        stored, written = len(alone.blobs), await alone.ends()
        for body in ({"json": TEXT}, {"files": {"file": ("a.txt", b"A mill.")}}):
            response = await http.post("/v1/documents", headers=as_tenant(tenant), **body)
            assert refusal(response) == (503, "overloaded")
            assert "behind" in response.json()["detail"]
        assert (len(alone.blobs), await alone.ends()) == (stored, written)
        assert await refused(http, "lag") >= 3
        assert (await http.get("/v1/documents/d0", headers=as_tenant(tenant))).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.delete("/v1/documents/d0", headers=as_tenant(tenant))).status_code == 202
        with started("worker", alone.folder / "logs", alone.environment):

            async def is_accepted() -> bool:
                response = await http.post("/v1/documents", json=TEXT, headers=as_tenant(tenant))
                return response.status_code == 202

            await eventually(is_accepted)


async def test_bytes_in_flight_are_bounded_and_shared(alone: Alone) -> None:
    async with alone.gateway(gateway_in_flight_bytes_max=1_000_000, gateway_tenant_share=0.5) as http:
        first = SlowUpload(http, "a", 400_000)
        await in_flight(http, 400_000)
        written = await alone.ends()
        # Its tenant has its share, another one has not.
        assert refusal(await SlowUpload(http, "a", 200_000).end()) == (429, "tenant-share-exceeded")
        second = SlowUpload(http, "b", 450_000)
        await in_flight(http, 850_000)
        for declared in (True, False):
            assert refusal(await SlowUpload(http, "c", 300_000, declared=declared).end()) == (503, "overloaded")
        await in_flight(http, 850_000)
        assert await alone.ends() == written
        assert not [blob for blob in alone.blobs if "c" in blob.relative_to(alone.folder / "blobs").parts]
        assert await refused(http, "tenant-bytes") == 1
        assert await refused(http, "bytes") == 2
        assert [(await upload.end()).status_code for upload in (first, second)] == [202, 202]
        await in_flight(http, 0)
        # Alone, also one that is larger than all that may be in flight.
        for size_bytes in (300_000, 2_000_000):
            assert (await SlowUpload(http, "c", size_bytes).end()).status_code == 202


async def test_questions_in_progress_are_bounded_and_shared(alone: Alone) -> None:
    async with alone.gateway(gateway_chats_max=4, gateway_tenant_share=0.5, gateway_answer_timeout_s=8) as http:

        async def ask(tenant: str, stream: bool = False) -> httpx.Response:
            return await http.post("/v1/chat", json={"message": "Why?", "stream": stream}, headers=as_tenant(tenant))

        before = await alone.ends()
        waiting = [asyncio.create_task(ask(tenant)) for tenant in "aabb"]

        async def are_written() -> bool:
            return await alone.ends() == before + 4

        await eventually(are_written)
        for stream in (False, True):
            assert refusal(await ask("a", stream)) == (429, "tenant-share-exceeded")
            assert refusal(await ask("c", stream)) == (503, "overloaded")
        assert await are_written()
        assert {(await each).status_code for each in waiting} == {504}

        # Nobody answers: who asks now would wait in vain.
        async def is_behind() -> bool:
            response = await ask("a")
            return response.status_code == 503 and "answer is" in response.json()["detail"]

        await eventually(is_behind, deadline_s=30)
        with started("worker", alone.folder / "logs", alone.environment):

            async def is_answered() -> bool:
                return (await ask("c")).status_code == 200

            await eventually(is_answered, deadline_s=30)


async def test_a_database_that_many_wait_for_is_no_place_to_wait(alone: Alone, tenant: str) -> None:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            alone.gateway(database_pool_size=1, gateway_database_waiting_max=2, gateway_lag_max=1_000_000)
        )
        url = alone.environment["DATABASE_URL"]
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE g1.documents IN ACCESS EXCLUSIVE MODE")
            reads = [asyncio.create_task(http.get("/v1/documents/d", headers=as_tenant(tenant))) for _ in range(3)]
            stored, written = len(alone.blobs), await alone.ends()

            async def is_busy() -> bool:
                return "millrace_database_waiting 2.0" in (await http.get("/metrics")).text

            await eventually(is_busy)
            for method, path, body in (
                ("GET", "/v1/documents/d", None),
                ("POST", "/v1/search", {"query": "mill"}),
                ("POST", "/v1/documents", TEXT),
                ("POST", "/v1/chat", {"message": "Why?"}),
            ):
                response = await asyncio.wait_for(http.request(method, path, json=body, headers=as_tenant(tenant)), 5)
                assert refusal(response) == (503, "database-busy")
            assert (len(alone.blobs), await alone.ends()) == (stored, written)
            assert await refused(http, "database-busy") == 4
            # It is not down for that: taken out, it would leave its share to the others.
            assert (await http.get("/readyz")).status_code == 200
            connection.rollback()
        assert [(await read).status_code for read in reads] == [404] * 3
        assert (await http.post("/v1/documents", json=TEXT, headers=as_tenant(tenant))).status_code == 202


async def test_a_process_that_has_grown_too_large_takes_nothing_on(alone: Alone, tenant: str) -> None:
    written = await alone.ends()
    async with alone.gateway(gateway_memory_bytes_max=1_000_000, gateway_lag_max=1_000_000) as http:
        for path, body in (("/v1/documents", TEXT), ("/v1/chat", {"message": "Why?"})):
            response = await http.post(path, json=body, headers=as_tenant(tenant))
            assert refusal(response) == (503, "overloaded")
            assert "memory" in response.json()["detail"]
        assert (await http.get("/v1/documents", headers=as_tenant(tenant))).status_code == 200
        assert await alone.ends() == written
    async with alone.gateway(gateway_lag_max=1_000_000) as http:
        assert (await http.post("/v1/documents", json=TEXT, headers=as_tenant(tenant))).status_code == 202


def test_when_to_come_again() -> None:
    assert [retry_after_s(amount, 10) for amount in (0, 1, 11, 100, 10_000)] == [1, 1, 2, 10, RETRY_AFTER_MAX_S]
    assert retry_after_s(5, 0) == RETRY_AFTER_UNKNOWN_S
