"""A new generation of the index is built beside the live one and takes its place, and nobody who searches notices."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from fastapi.responses import JSONResponse

from millrace.client import Gateway
from millrace.local.ports import free_port
from millrace.local.process import Child
from schemas.broker import BrokerSettings
from schemas.events import (
    DocumentCancelled,
    DocumentEvent,
    DocumentResubmitted,
    DocumentSubmitted,
    TextContent,
)
from schemas.producer import Producer
from schemas.topics import SUBMITTED
from schemas.wire import encode
from streams.parse import partition_of
from tests.conditions import eventually
from tests.conftest import READY_DEADLINE_S
from tests.engine.conftest import FakeOpenAI, openai
from tests.servers import start_servers

__all__ = ["openai"]

TENANT = "mill"
DOCUMENTS = 40
COMMAND_TIMEOUT_S = 180


def text(name: str, version: int) -> str:
    """A document that is one chunk of 256 tokens, and several of 32."""
    sentences = (f"Sluice gate {number} of {name} was at {version * 7 + number} degrees." for number in range(9))
    return f"BEGIN {name} {' '.join(sentences)} END"


def is_whole(hit: dict[str, Any]) -> bool:
    return str(hit["text"]).startswith("BEGIN") and str(hit["text"]).endswith("END")


@dataclass
class Site:
    """A Millrace of its own, since a swap concerns all tenants."""

    environment: dict[str, str]
    folder: Path
    children: dict[str, Child] = field(default_factory=dict)

    def start(self, name: str, port: str) -> None:
        """Return once the part is ready."""
        url = f"http://127.0.0.1:{self.environment[port]}/{'readyz' if name == 'gateway' else 'healthz'}"
        command = [sys.executable, "-m", "millrace", name]
        self.children[name] = Child(name, command, logs=self.folder, env=self.environment)

        def ready() -> bool:
            try:
                return httpx.get(url, timeout=2).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        self.children[name].wait_until(ready, deadline_s=READY_DEADLINE_S)

    def start_worker(self) -> None:
        self.start("worker", "MILLRACE_WORKER_PORT")

    async def millrace(self, *arguments: str) -> str:
        """What a command printed; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "millrace",
            *arguments,
            env=self.environment | {"COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, output.decode()
        return output.decode()

    def client(self) -> Gateway:
        return Gateway(f"http://127.0.0.1:{self.environment['MILLRACE_GATEWAY_PORT']}", TENANT)

    async def fetch(self, query: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.environment["DATABASE_URL"])
        try:
            rows: list[asyncpg.Record] = await connection.fetch(query)
        finally:
            await connection.close()
        return rows

    async def emit(self, *events: DocumentEvent, partition: int | None = None) -> None:
        """Write events to the log, as a producer does that does not ask the gateway."""
        producer = Producer(BrokerSettings(KAFKA_BOOTSTRAP_SERVERS=self.environment["KAFKA_BOOTSTRAP_SERVERS"]))
        await producer.start()
        for event in events:
            await producer.send(SUBMITTED, [encode(event)], partition)
        await producer.stop()

    async def outcomes(self, generation: int) -> list[tuple[Any, ...]]:
        """What readers can know of each document."""
        rows = await self.fetch(
            "SELECT d.document_id, d.revision, d.deleted, d.title, d.blob_key, p.revision, p.state, d.settled "
            f"FROM g{generation}.documents d LEFT JOIN LATERAL (SELECT * FROM g{generation}.document_processing p "
            "WHERE (p.tenant_id, p.document_id) = (d.tenant_id, d.document_id) ORDER BY p.revision DESC LIMIT 1"
            ") p ON true ORDER BY d.document_id"
        )
        return [tuple(row) for row in rows]

    async def letters(self, generation: int) -> list[tuple[Any, ...]]:
        rows = await self.fetch(
            f"SELECT letter_id, state, document_id, error_type FROM g{generation}.dead_letters ORDER BY letter_id"
        )
        return [tuple(row) for row in rows]

    async def wait_until_settled(self, generation: int, names: set[str]) -> None:
        """Wait until nothing of these documents is unfinished."""

        async def settled() -> bool:
            rows = await self.fetch(
                f"SELECT document_id, bool_and(state IN ('indexed', 'failed', 'cancelled', 'deleted')) AS final "
                f"FROM g{generation}.document_processing GROUP BY document_id"
            )
            return {row["document_id"] for row in rows if row["final"]} >= names

        await eventually(settled, deadline_s=60)

    async def generations(self) -> dict[int, str]:
        return {row["number"]: row["state"] for row in await self.fetch("SELECT number, state FROM generations")}

    async def left_of(self, generation: int) -> list[str]:
        """Whatever of a generation can still be found anywhere but in the object store."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.environment["KAFKA_BOOTSTRAP_SERVERS"])
        await admin.start()
        try:
            names = [*await admin.list_topics(), *(group for group, *_ in await admin.list_consumer_groups())]
        finally:
            await admin.close()
        names += [row["nspname"] for row in await self.fetch("SELECT nspname FROM pg_namespace")]
        return [name for name in names if re.search(rf"(^|[.-])g{generation}$", name)]

    async def blobs_beyond(self, *generations: int) -> set[str]:
        """Blobs that no generation needs."""
        needed = {
            row["blob_key"]
            for number in generations
            for row in await self.fetch(f"SELECT blob_key FROM g{number}.blob_uses")
        }
        return files_below(Path(self.environment["MILLRACE_BLOBS_URL"])) - needed


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Servers, a worker with all stages, and a gateway."""
    folder = tmp_path_factory.mktemp("reindex")
    with start_servers(folder / "servers") as servers:
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap_servers,
            "DATABASE_URL": servers.database_url,
            "MILLRACE_BLOBS_URL": str(folder / "blobs"),
            "MILLRACE_GATEWAY_PORT": str(free_port()),
            "MILLRACE_WORKER_PORT": str(free_port()),
            "MILLRACE_WORKER_INSTANCE_ID": "reindex",
            "MILLRACE_WORKER_PARSE_PROCESSES": "1",
            "MILLRACE_CHUNK_TOKENS_MAX": "256",
            "MILLRACE_EMBEDDER_API_KEY": "sk-of-the-worker",
        }
        site = Site(environment, folder)
        for command in ("migrate", "topics"):
            subprocess.run(
                [sys.executable, "-m", "millrace", command],
                env=environment,
                check=True,
                capture_output=True,
                timeout=120,
            )
        site.start_worker()
        site.start("gateway", "MILLRACE_GATEWAY_PORT")
        yield site
        for name in ("gateway", "worker"):
            site.children[name].terminate(deadline_s=30)


@dataclass
class Searches:
    """What searches without a pause found: whether each found whole documents or pieces."""

    whole: list[bool] = field(default_factory=list)


@asynccontextmanager
async def searching(client: Gateway, **options: Any) -> AsyncIterator[Searches]:
    """Search all the time; an error, an empty answer, or one of two generations fails the test at the end."""
    searches = Searches()

    async def search() -> None:
        while True:
            found = await client.search("degrees of the sluice gate", limit=20, **options)
            assert found["hits"]
            kinds = {is_whole(hit) for hit in found["hits"]}
            assert len(kinds) == 1, found["hits"]
            assert len({(hit["document_id"], hit["revision"]) for hit in found["hits"]}) == len(
                {hit["document_id"] for hit in found["hits"]}
            )
            searches.whole += kinds

    tasks = [asyncio.create_task(search()) for _ in range(2)]
    try:
        yield searches
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                assert isinstance(result, BaseException)
                raise result


@asynccontextmanager
async def writing(client: Gateway) -> AsyncIterator[list[str]]:
    """Add, edit and delete documents all the time; each write is seen by the read that names it."""
    written: list[str] = []

    async def write() -> None:
        for number in range(10_000):
            name = f"w{number % 7}"
            if number % 5 == 4:
                name = f"w{(number - 1) % 7}"
                accepted = await client.delete(name)
                found = await client.search(name, position=accepted["position"], filters={"document_ids": [name]})
                assert found["hits"] == []
            else:
                accepted = await client.add_text(text(name, number), document_id=name)
                found = await client.search(name, position=accepted["position"], filters={"document_ids": [name]})
                assert {hit["revision"] for hit in found["hits"]} == {accepted["revision"]}
            written.append(name)

    task = asyncio.create_task(write())
    try:
        yield written
    finally:
        task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(result, asyncio.CancelledError):
            assert isinstance(result, BaseException)
            raise result


@pytest.fixture(scope="module")
async def filled(site: Site) -> set[str]:
    """Documents with a past: edited, deleted, failed, cancelled, submitted again."""
    names = {f"d{number}" for number in range(DOCUMENTS)}
    no_pdf = site.folder / "broken.pdf"
    no_pdf.write_text("No PDF.")
    async with site.client() as client:
        for name in sorted(names):
            await client.add_text(text(name, 1), document_id=name, title=f"About {name}")
        for name in ("d1", "d2", "d2"):
            await client.add_text(text(name, 2), document_id=name)
        broken = await client.add_file(no_pdf, "application/pdf", document_id="broken")
        late = await client.delete("d3")
        await client.search("gate", position=late["position"])
        await site.wait_until_settled(1, names | {"broken"})
    ids = {"tenant_id": TENANT}
    fresh = DocumentSubmitted(
        **ids, document_id="stopped", media_type="text/plain", content=TextContent(text=text("stopped", 1))
    )
    await site.emit(
        DocumentCancelled(**ids, document_id="d5"),  # long after it was indexed
        fresh,
        DocumentCancelled(**ids, document_id="stopped"),
        DocumentResubmitted(**ids, document_id="d6"),
        DocumentResubmitted(**ids, document_id="broken", revision=broken["revision"]),
        DocumentResubmitted(**ids, document_id="nothing"),
        DocumentSubmitted(
            **ids, document_id="inline", media_type="text/plain", content=TextContent(text=text("inline", 1))
        ),
        DocumentSubmitted(
            **ids, document_id="inline", media_type="text/plain", content=TextContent(text=text("inline", 2))
        ),
    )
    astray = fresh.model_copy(update={"document_id": "astray"})
    await site.emit(astray, partition=(partition_of(astray.key()) + 1) % SUBMITTED.partitions)
    names |= {"broken", "stopped", "nothing", "inline", "astray"}
    await site.wait_until_settled(1, names)
    return names


async def test_another_chunk_size_while_all_goes_on(site: Site, filled: set[str]) -> None:
    before = await revisions(site, filled)
    async with site.client() as client, searching(client) as searches:
        async with writing(client) as written:
            said = await site.millrace("reindex", "--chunk-tokens", "32", "--chunk-overlap", "0", "--swap")
            assert "readers see generation 2" in said, said
            assert "overlap@10" in said
            so_far = len(written)

            async def went_on() -> bool:
                return len(written) > so_far + 10

            await eventually(went_on, deadline_s=60)
        assert await revisions(site, filled) == before  # nothing was written to the log once more
        swapped_at = searches.whole.index(False)
        assert all(searches.whole[:swapped_at])
        assert not any(searches.whole[swapped_at + 2 :])  # two searches at a time
        await site.wait_until_settled(2, filled)
        await same_outcomes(site, 1, 2)

        async with writing(client):
            assert "readers see generation 1" in await site.millrace("reindex", "back")

            async def is_back() -> bool:
                return searches.whole[-1]

            await eventually(is_back)
        await same_outcomes(site, 1, 2)
        listed = await site.millrace("reindex", "list")
        assert "kept" in listed
        await site.millrace("reindex", "abandon", "2")
    assert await site.generations() == {1: "live"}
    assert await site.left_of(2) == []

    async def swept() -> bool:
        return not await site.blobs_beyond(1)

    await eventually(swept)


async def revisions(site: Site, names: set[str]) -> dict[str, int]:
    """The newest revision of each document, in the first generation."""
    rows = await site.fetch(
        "SELECT document_id, max(revision) AS newest FROM g1.document_processing GROUP BY document_id"
    )
    return {row["document_id"]: row["newest"] for row in rows if row["document_id"] in names}


async def same_outcomes(site: Site, *generations: int) -> None:
    """Wait until both generations say the same of each document."""

    async def same() -> bool:
        one, other = [await site.outcomes(number) for number in generations]
        return one == other

    try:
        await eventually(same, deadline_s=30)
    except AssertionError:
        first, second = [set(await site.outcomes(number)) for number in generations]
        raise AssertionError(f"only in the first: {first - second}; only in the second: {second - first}") from None
    letters = [await site.letters(number) for number in generations]
    assert letters[0] == letters[1]


async def test_one_given_up_half_way_leaves_nothing_behind(site: Site, filled: set[str], openai: FakeOpenAI) -> None:
    [live] = await site.generations()
    openai.answers = [JSONResponse({}, 503) for _ in range(100_000)]
    begun = asyncio.create_task(site.millrace(*other_embedder(openai)))
    number = await generation_in(site, "building")

    async def has_begun() -> bool:
        rows = await site.fetch(f"SELECT blob_key FROM g{number}.blob_uses WHERE derived")
        return bool(rows) and len(openai.answers) < 100_000

    await eventually(has_begun, deadline_s=60)
    begun.cancel()
    # As if the command had been killed on its way.
    await site.fetch(f"UPDATE generations SET state = 'abandoned' WHERE number = {number}")
    await site.millrace("reindex", "abandon", str(number))
    assert await site.generations() == {live: "live"}
    assert await site.left_of(number) == []

    async def swept() -> bool:
        return not await site.blobs_beyond(live)

    await eventually(swept)
    async with site.client() as client:
        assert (await client.search("degrees of the sluice gate"))["hits"]


async def test_another_embedder_and_a_worker_that_is_killed(site: Site, filled: set[str], openai: FakeOpenAI) -> None:
    before = await site.outcomes(1)
    begun = asyncio.create_task(site.millrace(*other_embedder(openai)))
    number = await generation_in(site, "building")

    async def half_way() -> bool:
        [row] = await site.fetch(f"SELECT count(*) AS done FROM g{number}.documents WHERE settled > 0")
        return bool(row["done"] > 5)

    await eventually(half_way, deadline_s=60)
    site.children["worker"].kill()
    site.start_worker()
    async with site.client() as client:
        async with searching(client, mode="vector") as searches:
            said = await begun
            assert f"`millrace reindex swap {number}`" in said, said
            await site.millrace("reindex", "swap", str(number))

            async def swapped() -> bool:
                return not searches.whole[-1]

            await eventually(swapped)
        assert await site.outcomes(number) == before
        # Whoever comes later finds no trace of the first one, and misses nothing.
        await site.millrace("reindex", "abandon", "1")
        assert await site.generations() == {number: "live"}
        site.children["worker"].kill()
        await site.millrace("migrate")
        site.start_worker()
        accepted = await client.add_text(text("late", 1), document_id="late")
        found = await client.search("late", position=accepted["position"], filters={"document_ids": ["late"]})
        assert {hit["revision"] for hit in found["hits"]} == {accepted["revision"]}
        assert not is_whole(found["hits"][0])


def other_embedder(openai: FakeOpenAI) -> list[str]:
    """`millrace reindex` with vectors from the fake endpoint, and chunks that can be told from those of before."""
    embedder = {"embedder": "openai", "embedder-url": openai.url, "embedder-model": "m", "embedder-dimensions": "8"}
    return [
        "reindex",
        "--chunk-tokens",
        "32",
        *(part for name, value in embedder.items() for part in (f"--{name}", value)),
    ]


async def generation_in(site: Site, state: str) -> int:
    """The number of the generation in a state, once there is one."""

    async def found() -> int:
        return next((number for number, each in (await site.generations()).items() if each == state), 0)

    return await eventually(found, deadline_s=60)
