"""Each kind of fault, as something that holds while a context lasts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from functools import partial
from signal import SIGINT, SIGQUIT, Signals

from aiokafka.errors import KafkaError

from millrace.chaos.cluster import BROKERS, Cluster, Note, NotReady
from millrace.chaos.leaders import move_leaders
from millrace.chaos.plan import Fault
from millrace.chaos.proxy import Network
from schemas.errors import MillraceError

CLOCK_JUMP_S = 2 * 3600
"""As far as a wrong time zone goes."""
BACK_DEADLINE_S = 60
"""For a part that was restarted in order to be ready again."""

Inject = Callable[[Cluster, str], AbstractAsyncContextManager[None]]


class FaultLeftOut(MillraceError):
    """This machine does not allow the fault."""

    type = "fault-left-out"


async def inject(cluster: Cluster, fault: Fault, note: Note) -> None:
    """Wait, let the fault happen, hold it, end it. Raises `FaultLeftOut`."""
    await asyncio.sleep(fault.after_s)
    note("fault", fault=fault.kind, target=fault.target)
    async with FAULTS[fault.kind](cluster, fault.target):
        await asyncio.sleep(fault.hold_s)
    note("healed", fault=fault.kind, target=fault.target)


@asynccontextmanager
async def _killed(cluster: Cluster, target: str) -> AsyncIterator[None]:
    part = cluster.parts[target]
    part.wanted = False
    part.kill()
    try:
        yield
    finally:
        part.wanted = True


@asynccontextmanager
async def _paused(cluster: Cluster, target: str) -> AsyncIterator[None]:
    part = cluster.parts[target]
    part.pause()
    try:
        yield
    finally:
        part.resume()


@asynccontextmanager
async def _stopped(number: Signals, cluster: Cluster, target: str) -> AsyncIterator[None]:
    part = cluster.parts[target]
    part.wanted = False
    await cluster.run(partial(part.stop, number))
    try:
        yield
    finally:
        part.wanted = True


@asynccontextmanager
async def _rolling_restart(cluster: Cluster, kind: str) -> AsyncIterator[None]:
    for part in cluster.of_kind(kind):
        await cluster.run(part.stop)
        # Whether it comes back at all is found out when the round comes to rest.
        with suppress(NotReady):
            await cluster.until_ready(BACK_DEADLINE_S, [part])
    yield


@asynccontextmanager
async def _other_leaders(cluster: Cluster, _: str) -> AsyncIterator[None]:
    # Beside another fault the brokers may not be able to.
    with suppress(KafkaError, TimeoutError):
        await move_leaders(cluster.kafka)
    yield


@asynccontextmanager
async def _full_disk(cluster: Cluster, target: str) -> AsyncIterator[None]:
    disk = cluster.disks[target]
    if not disk.is_small:
        raise FaultLeftOut("Only root may mount a disk small enough to be filled.")
    await asyncio.to_thread(disk.fill)
    try:
        yield
    finally:
        disk.free()


@asynccontextmanager
async def _another_time(offset_s: int, cluster: Cluster, target: str) -> AsyncIterator[None]:
    if not cluster.clocks.can_jump:
        raise FaultLeftOut("It takes Linux and a C compiler (Debian: apt install gcc libc6-dev).")
    cluster.clocks.jump(target, offset_s)
    try:
        yield
    finally:
        cluster.clocks.jump(target, 0)


@asynccontextmanager
async def _networked(network: Network, cluster: Cluster, target: str) -> AsyncIterator[None]:
    client, _, server = target.rpartition(">")
    links = BROKERS if server == "brokers" else (server,)
    with ExitStack() as stack:
        for link in links:
            affects = cluster.belongs_to(client) if client else None
            stack.enter_context(cluster.proxies[link].imposing(network, affects))
        yield


FAULTS: dict[str, Inject] = {
    "kill": _killed,
    "short-pause": _paused,
    "long-pause": _paused,
    "rolling-restart": _rolling_restart,
    "join-and-leave": Cluster.joined,
    "leaders": _other_leaders,
    "fast-restart": partial(_stopped, SIGINT),
    "immediate-restart": partial(_stopped, SIGQUIT),
    "full-disk": _full_disk,
    # A line to another continent, and a thin one.
    "slow": partial(_networked, Network(delay_s=0.1, bytes_per_s=100_000)),
    "cut": partial(_networked, Network(cut=True)),
    "silent": partial(_networked, Network(silent_to_server=True, silent_to_client=True)),
    "no-answers": partial(_networked, Network(silent_to_client=True)),
    "clock-forward": partial(_another_time, CLOCK_JUMP_S),
    "clock-back": partial(_another_time, -CLOCK_JUMP_S),
}
