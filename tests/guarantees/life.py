"""Lives of workers, seen from the tests."""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from schemas.topics import GROUP_OF_STAGE
from tests.conditions import eventually
from tests.guarantees.stopping import ARMED, LATE, STOPPING, live

DEADLINE_S = 60
SESSION_TIMEOUT_S = 6
"""The shortest that a worker takes: after that, the partitions of one that is asleep go to another."""

_context = multiprocessing.get_context("forkserver")
# What takes a worker's time to start is to import; so it is done once, and each life is a fork.
_context.set_forkserver_preload(["tests.guarantees.stopping"])


class Life:
    """A worker in a process of its own that can be told where to stop."""

    def __init__(self, name: str, logs: Path, stages: tuple[str, ...] = tuple(GROUP_OF_STAGE)) -> None:
        environment: Mapping[str, str | None] = {
            **{key: value for key, value in os.environ.items() if key.startswith(("MILLRACE_", "KAFKA_", "DATABASE_"))},
            "MILLRACE_WORKER_INSTANCE_ID": name,
            "MILLRACE_WORKER_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "MILLRACE_WORKER_PARSE_PROCESSES": "1",
            "MILLRACE_WORKER_PORT": None,
        }
        self._connection, theirs = _context.Pipe()
        self._process = _context.Process(target=live, args=(theirs, environment, str(logs / f"{name}.log"), stages))
        self._process.start()
        theirs.close()

    async def stop_at(self, window: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Let it stop at a window with a signal."""
        self._connection.send((window, number))
        await self._says(ARMED)

    async def stopped(self) -> None:
        """Wait until it has stopped at its window."""
        await self._says(STOPPING)

    async def wake(self) -> None:
        """Let it go on, and wait until what it was at has come to its end."""
        self.signal(signal.SIGCONT)
        await self._says(LATE)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """kill -9, if it still lives."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    async def _says(self, word: str) -> None:
        async def said() -> bool:
            assert self._process.exitcode is None or self._connection.poll(), "it has ended before"
            return self._connection.poll()

        await eventually(said, deadline_s=DEADLINE_S)
        assert self._connection.recv() == word
