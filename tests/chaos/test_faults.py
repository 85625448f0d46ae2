"""Faults that befall one process, tried on a small real one that the cluster keeps running."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from millrace.chaos.cluster import Cluster
from millrace.chaos.faults import inject
from millrace.chaos.parts import Command
from millrace.chaos.plan import Fault
from millrace.chaos.proxy import Proxy
from millrace.local.ports import HOST, free_port
from tests.conditions import eventually

SERVES = """
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
ASKS = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=1).read()
        print("answered", flush=True)
    except OSError:
        print("failed", flush=True)
    time.sleep(0.05)
"""


class Notes(list[tuple[str, dict[str, object]]]):
    def __call__(self, kind: str, /, **data: object) -> None:
        self.append((kind, data))

    def of(self, kind: str) -> list[dict[str, object]]:
        return [data for each, data in self if each == kind]


def python(name: str, script: str, port: int, ready_port: int, folder: Path) -> Command:
    command = [sys.executable, "-c", script, str(port)]
    return Command(name, "web", command, env={}, logs=folder, ready_url=f"http://{HOST}:{ready_port}/")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def cluster(tmp_path: Path, notes: Notes) -> AsyncIterator[Cluster]:
    """One web server, and a client of it that goes through a proxy."""
    cluster = Cluster(tmp_path, notes, libs=tmp_path)
    server_port, proxy_port = free_port(), free_port()
    proxy = cluster.proxies["postgres"] = Proxy(proxy_port, server_port)
    async with proxy.running():
        await cluster.add(python("web", SERVES, server_port, server_port, tmp_path))
        await cluster.add(python("client", ASKS, proxy_port, server_port, tmp_path))
        await cluster.until_ready(20)
        yield cluster
        await cluster.stop()


async def is_ready(cluster: Cluster) -> bool:
    return await asyncio.to_thread(cluster.parts["web"].is_ready)


async def during(cluster: Cluster, notes: Notes, fault: Fault) -> "asyncio.Task[None]":
    """The fault under way."""
    task = asyncio.create_task(inject(cluster, fault, notes))

    async def has_begun() -> bool:
        return bool(notes.of("fault"))

    await eventually(has_begun)
    return task


async def test_what_was_killed_stays_away_and_is_then_started_again(cluster: Cluster, notes: Notes) -> None:
    first = cluster.parts["web"].pid
    under_way = await during(cluster, notes, Fault("kill", "web", 0, 1.0))

    async def is_down() -> bool:
        return not cluster.parts["web"].is_running

    await eventually(is_down)
    assert not under_way.done()
    await under_way
    await cluster.until_ready(20)
    assert cluster.parts["web"].pid != first
    assert notes.of("start") == [{"part": "web"}]
    assert notes.of("healed") == [{"fault": "kill", "target": "web"}]


async def test_one_that_ends_by_itself_is_started_again_and_noted(cluster: Cluster, notes: Notes) -> None:
    os.kill(cluster.parts["web"].pid or 0, signal.SIGTERM)

    async def exits() -> list[dict[str, object]]:
        return notes.of("exit")

    (ended,) = await eventually(exits)
    assert not ended["expected"]
    assert "web ended with -15" in str(ended["last_words"])
    await cluster.until_ready(20)


async def test_a_paused_one_answers_nothing_until_it_goes_on(cluster: Cluster, notes: Notes) -> None:
    pid = cluster.parts["web"].pid
    under_way = await during(cluster, notes, Fault("short-pause", "web", 0, 3.0))
    assert not await is_ready(cluster)
    await under_way
    assert await is_ready(cluster)
    assert cluster.parts["web"].pid == pid


async def test_a_cut_concerns_the_one_client_that_is_meant(cluster: Cluster, notes: Notes, tmp_path: Path) -> None:
    log = tmp_path / "client.log"

    async def answered() -> bool:
        return "answered" in log.read_text()

    await eventually(answered)
    under_way = await during(cluster, notes, Fault("cut", "client>postgres", 0, 2.0))

    async def failed() -> bool:
        return "failed" in log.read_text()

    await eventually(failed)
    async with httpx.AsyncClient() as other:
        answer = await other.get(f"http://{HOST}:{cluster.proxies['postgres'].port}/")
    assert answer.status_code == 200
    assert not under_way.done()
    await under_way
    lines = len(log.read_text().splitlines())

    async def answered_again() -> bool:
        return "answered" in log.read_text().splitlines()[lines + 1 :]

    await eventually(answered_again)
