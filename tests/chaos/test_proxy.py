"""The network between parts, tried on real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from millrace.chaos.proxy import Network, Proxy
from millrace.local.ports import HOST, free_port

SILENCE_S = 0.3
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that answers what it is told."""
    server = await asyncio.start_server(_echo, HOST, 0)
    proxy = Proxy(free_port(), server.sockets[0].getsockname()[1])
    async with proxy.running():
        yield proxy
    server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    yield reader, writer
    writer.transport.abort()


async def say(line: Line, data: bytes) -> None:
    line[1].write(data)
    await line[1].drain()


async def hear(line: Line, count: int) -> bytes:
    async with asyncio.timeout(10):
        return await line[0].readexactly(count)


async def is_silent(line: Line) -> bool:
    """Whether nothing is heard for a while; that while is what is measured."""
    try:
        async with asyncio.timeout(SILENCE_S):
            await line[0].readexactly(1)
    except TimeoutError:
        return True
    return False


async def test_a_clear_line_carries_everything_and_its_end(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        data = bytes(range(256)) * 4096
        answer = asyncio.create_task(hear(line, len(data)))
        await say(line, data)
        line[1].write_eof()
        assert await answer == data
        assert await line[0].read() == b""


async def test_a_server_that_is_away_refuses(proxy: Proxy) -> None:
    nobody = Proxy(free_port(), free_port())
    async with nobody.running(), connected(nobody) as line:
        assert await line[0].read() == b""


async def test_a_slow_line_delays_each_way(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        with proxy.imposing(Network(delay_s=0.1)):
            began = time.monotonic()
            await say(line, b"x")
            await hear(line, 1)
            assert time.monotonic() - began >= 0.2


async def test_a_thin_line_trickles(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        with proxy.imposing(Network(bytes_per_s=200_000)):
            began = time.monotonic()
            await say(line, bytes(40_000))
            await hear(line, 40_000)
            assert time.monotonic() - began >= 0.2


async def test_what_was_sent_into_the_silence_arrives_after_it(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        with proxy.imposing(Network(silent_to_server=True, silent_to_client=True)):
            await say(line, b"late")
            async with connected(proxy) as new:
                await say(new, b"new")
                assert await is_silent(line)
                assert await is_silent(new)
        assert await hear(line, 4) == b"late"


async def test_an_answer_is_lost_though_what_was_asked_is_done() -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        heard.set()
        writer.write(b"done")

    server = await asyncio.start_server(serve, HOST, 0)
    proxy = Proxy(free_port(), server.sockets[0].getsockname()[1])
    async with proxy.running(), connected(proxy) as line:
        with proxy.imposing(Network(silent_to_client=True)):
            await say(line, b"work")
            async with asyncio.timeout(10):
                await heard.wait()
            assert await is_silent(line)
        assert await hear(line, 4) == b"done"
    server.close()


async def test_a_cut_ends_what_is_open_and_refuses_what_is_new(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        await say(line, b"x")
        await hear(line, 1)
        with proxy.imposing(Network(cut=True)):
            with suppress(ConnectionResetError):
                assert await line[0].read() == b""
            async with connected(proxy) as new:
                with suppress(ConnectionResetError):
                    assert await new[0].read() == b""
        async with connected(proxy) as healed:
            await say(healed, b"x")
            assert await hear(healed, 1) == b"x"


async def test_only_the_client_that_is_meant_is_concerned(proxy: Proxy) -> None:
    async with connected(proxy) as one, connected(proxy) as other:
        port = one[1].get_extra_info("sockname")[1]
        for line in (one, other):
            await say(line, b"x")
            await hear(line, 1)
        with proxy.imposing(Network(silent_to_client=True), lambda client_port: client_port == port):
            for line in (one, other):
                await say(line, b"y")
            assert await hear(other, 1) == b"y"
            assert await is_silent(one)
        assert await hear(one, 1) == b"y"


async def test_of_two_at_a_time_the_newer_holds_and_then_the_older(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        with proxy.imposing(Network(silent_to_client=True)):
            with proxy.imposing(Network(delay_s=0.01)):
                await say(line, b"x")
                assert await hear(line, 1) == b"x"
            await say(line, b"y")
            assert await is_silent(line)
