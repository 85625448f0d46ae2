"""kill -9 in the middle of the work loses nothing, doubles nothing and leaves nothing behind."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import psutil
import pytest

from db.pool import search_path
from engine.parse import media_type_of
from millrace.client import Gateway
from millrace.local.process import is_alive
from samples import FILES
from samples.generate import generate
from schemas.events import State
from schemas.topics import FIRST_GENERATION
from tests.acceptance.topics import Statuses
from tests.conditions import eventually
from tests.conftest import Broker, Process
from tests.servers import Servers

INDEXED_DEADLINE_S = 60
GONE_DEADLINE_S = 2
"""How long a parser may outlive its worker."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample documents but for the large one, which takes as long as all others together."""
    files = {path.name: path for path in (*FILES.iterdir(), *generate(tmp_path_factory.mktemp("samples")))}
    return [files[name] for name in sorted(files) if media_type_of(name) and ".large." not in name]


class Rows:
    """What Postgres holds of a tenant."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def chunks(self, tenant_id: str) -> list[tuple[object, ...]]:
        """Every chunk row, visible or not, but for the revision, which no two runs share."""
        return await self._fetch(
            "SELECT document_id, ordinal, text, start_char, end_char, page, headings, token_count, content_hash, "
            "embedder, embedding::text FROM document_chunks WHERE tenant_id = $1 ORDER BY document_id, ordinal",
            tenant_id,
        )

    async def invisible_chunks(self, tenant_id: str) -> list[tuple[object, ...]]:
        """Rows that belong to no document that readers see."""
        return await self._fetch(
            "SELECT document_id, revision, ordinal FROM document_chunks c WHERE tenant_id = $1 AND NOT EXISTS ("
            "SELECT FROM documents d WHERE (d.tenant_id, d.document_id, d.revision) = "
            "(c.tenant_id, c.document_id, c.revision) AND NOT d.deleted)",
            tenant_id,
        )

    async def _fetch(self, query: str, tenant_id: str) -> list[tuple[object, ...]]:
        settings = {"search_path": search_path(FIRST_GENERATION)}
        connection = await asyncpg.connect(self._database_url, server_settings=settings)
        try:
            return [tuple(row) for row in await connection.fetch(query, tenant_id)]
        finally:
            await connection.close()


@pytest.fixture(autouse=True)
def worker_for_the_next_test(worker: Process) -> Iterator[None]:
    """A test that failed while the worker was dead must not take the others with it."""
    yield
    if not worker.child.is_running:
        worker.start()


@pytest.fixture
def rows(database_url: str) -> Rows:
    return Rows(database_url)


@pytest.fixture(scope="module")
async def undisturbed(
    gateway: Process, worker: Process, corpus: Sequence[Path], database_url: str
) -> list[tuple[object, ...]]:
    """The chunk rows of a run in which nothing happens."""
    tenant = f"undisturbed-{os.getpid()}"
    async with Gateway(gateway.ready_url.removesuffix("/readyz"), tenant) as client:
        await submit(client, corpus)
        await assert_all_indexed(client, corpus)
    return await Rows(database_url).chunks(tenant)


async def submit(client: Gateway, corpus: Sequence[Path]) -> None:
    for path in corpus:
        await client.add_file(path, media_type_of(path.name), document_id=path.name)


async def assert_all_indexed(client: Gateway, corpus: Sequence[Path]) -> None:
    async with asyncio.timeout(INDEXED_DEADLINE_S):
        for path in corpus:
            status = [status async for status in client.follow(path.name)][-1]
            assert status["state"] == "indexed", status


async def unfinished(client: Gateway, corpus: Sequence[Path]) -> list[str]:
    states = {path.name: (await client.status(path.name))["state"] for path in corpus}
    return [name for name, state in states.items() if not State(state).final]


def parsers_of(worker: Process) -> list[psutil.Process]:
    """The processes that a worker started."""
    return psutil.Process(worker.child.pid).children(recursive=True)


def kill(worker: Process) -> None:
    """kill -9 of the worker's own process alone; what it started gets no signal from us."""
    os.kill(worker.child.pid, signal.SIGKILL)


async def assert_gone(worker: Process, family: Sequence[psutil.Process]) -> None:
    async def gone() -> bool:
        return not worker.child.is_running and not [process for process in family if is_alive(process)]

    await eventually(gone, deadline_s=GONE_DEADLINE_S)


@pytest.mark.parametrize("moment", [State.PARSING, State.EMBEDDING, State.INDEXING])
async def test_a_killed_worker_ends_the_corpus_as_if_nothing_had_happened(
    worker: Process,
    client: Gateway,
    kafka: Broker,
    corpus: Sequence[Path],
    rows: Rows,
    tenant: str,
    undisturbed: list[tuple[object, ...]],
    moment: State,
) -> None:
    async with Statuses.following(kafka.bootstrap_servers) as statuses, asyncio.TaskGroup() as group:
        group.create_task(submit(client, corpus))
        await statuses.status(tenant, moment)
        family = parsers_of(worker)
        kill(worker)
    await assert_gone(worker, family)
    assert await unfinished(client, corpus), "the kill came too late to be in the middle"
    worker.start()
    await assert_all_indexed(client, corpus)
    assert await rows.chunks(tenant) == undisturbed
    assert not await rows.invisible_chunks(tenant)


async def test_a_worker_that_is_killed_again_and_again_still_ends_the_corpus(
    worker: Process,
    client: Gateway,
    kafka: Broker,
    corpus: Sequence[Path],
    rows: Rows,
    tenant: str,
    undisturbed: list[tuple[object, ...]],
) -> None:
    """Each life of the worker lasts until it has indexed three documents."""
    async with Statuses.following(kafka.bootstrap_servers) as statuses:
        await submit(client, corpus)
        for _ in range(3):
            for _ in range(3):
                await statuses.status(tenant, State.INDEXED, deadline_s=INDEXED_DEADLINE_S)
            kill(worker)
            await assert_gone(worker, [])
            worker.start()
    await assert_all_indexed(client, corpus)
    assert await rows.chunks(tenant) == undisturbed
    assert not await rows.invisible_chunks(tenant)


async def test_a_parser_that_takes_too_long_is_ended_by_its_worker_or_with_it(
    worker: Process, client: Gateway, corpus: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(client, corpus[:1])
    await assert_all_indexed(client, corpus[:1])
    family = parsers_of(worker)
    idle_s = cpu_s(family)
    nested = tmp_path / "nested.md"
    nested.write_text("".join(f"{'  ' * level}- x\n" for level in range(2_500)))  # takes more than 5 s
    await client.add_file(nested, "text/markdown", document_id=nested.name)

    async def is_parsing() -> bool:
        return cpu_s(family) > idle_s + 1.5  # more than a parser needs to start

    await eventually(is_parsing)
    kill(worker)
    await assert_gone(worker, family)
    monkeypatch.setenv("MILLRACE_WORKER_PARSE_TIMEOUT_S", "1")
    worker.start()
    status = [status async for status in client.follow(nested.name)][-1]
    assert (status["state"], status["error"]["type"]) == ("failed", "parser-crashed")
    await submit(client, corpus[1:2])
    await assert_all_indexed(client, corpus[1:2])
    monkeypatch.undo()
    kill(worker)
    await assert_gone(worker, [])
    worker.start()


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor time that they have used together."""
    return sum(process.cpu_times().user for process in processes)


async def test_a_postgres_that_is_killed_ends_nothing(
    servers: Servers,
    client: Gateway,
    kafka: Broker,
    corpus: Sequence[Path],
    rows: Rows,
    tenant: str,
    undisturbed: list[tuple[object, ...]],
) -> None:
    """Worker and gateway stay up, wait for it, and go on."""
    async with Statuses.following(kafka.bootstrap_servers) as statuses:
        await submit(client, corpus)
        await statuses.status(tenant, State.INDEXED)
        await asyncio.to_thread(servers.restart_postgres)
    await assert_all_indexed(client, corpus)
    assert await rows.chunks(tenant) == undisturbed
    assert not await rows.invisible_chunks(tenant)
