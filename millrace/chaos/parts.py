"""The processes of the cluster, each of which can be killed, paused, stopped and started again."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from millrace.local.kafka import LocalKafka
from millrace.local.postgres import LocalPostgres
from millrace.local.process import Child

STOP_DEADLINE_S = 20
READY_TIMEOUT_S = 2


class Part(ABC):
    """One process. While it is ``wanted``, the cluster starts it again whenever it has ended."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.wanted = True
        self.was_ended = False
        """Whether its last end was our doing."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The process id, None before the first start."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """True from the start until the process has ended, in whatever way."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Does it do its work? May take `READY_TIMEOUT_S`."""

    @property
    def last_words(self) -> str:
        """How it ended, with the last line it wrote, where that is known."""
        return ""

    @abstractmethod
    def start(self) -> None:
        """Start the process, which must not be running; a server's start returns once it answers."""

    @abstractmethod
    def stop(self, number: signal.Signals | None = None) -> None:
        """Let it end in order, by this signal if not by its usual one; returns once it has ended."""

    def kill(self) -> None:
        """kill -9 of this process alone: what it started gets no signal from us."""
        self.was_ended = True
        self._send(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it and what it started, as a machine that stalls does; what has ended does not matter."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def client_ports(self) -> set[int]:
        """The ports from which it is connected to others now."""
        if self.pid is None:
            return set()
        try:
            return {each.laddr.port for each in psutil.Process(self.pid).net_connections("tcp") if each.laddr}
        except psutil.Error:
            return set()

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None and self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _family(self) -> list[psutil.Process]:
        if self.pid is None or not self.is_running:
            return []
        with suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.pid)
            return [leader, *leader.children(recursive=True)]
        return []


class Command(Part):
    """A worker or a gateway: ``command`` is its whole command line, ``ready_url`` answers 200 once it works."""

    def __init__(
        self,
        name: str,
        kind: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        logs: Path,
        ready_url: str,
    ) -> None:
        super().__init__(name, kind)
        self._command = command
        self._env = env
        self._logs = logs
        self._ready_url = ready_url
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:  # noqa: D102 - see Part
        return self._child.pid if self._child else None

    @property
    def is_running(self) -> bool:  # noqa: D102
        return self._child is not None and self._child.is_running

    def is_ready(self) -> bool:  # noqa: D102
        try:
            return httpx.get(self._ready_url, timeout=READY_TIMEOUT_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def start(self) -> None:  # noqa: D102
        self.was_ended = False
        self._child = Child(self.name, self._command, logs=self._logs, env=self._env)

    def stop(self, number: signal.Signals | None = None) -> None:  # noqa: D102
        self.was_ended = True
        if self._child:
            self.resume()
            self._child.terminate(deadline_s=STOP_DEADLINE_S)

    @property
    def last_words(self) -> str:  # noqa: D102
        return str(self._child.failure()) if self._child else ""


class Server(Part):
    """A broker or Postgres."""

    def __init__(self, name: str, kind: str, server: LocalKafka | LocalPostgres) -> None:
        super().__init__(name, kind)
        self._server = server

    @property
    def pid(self) -> int | None:  # noqa: D102
        return self._server.pid

    @property
    def is_running(self) -> bool:  # noqa: D102
        return self._server.is_running

    def is_ready(self) -> bool:  # noqa: D102
        return self.is_running and self._server.is_ready()

    def start(self) -> None:  # noqa: D102
        self.was_ended = False
        self._server.kill()  # It has ended; this gives its folder free.
        self._server.start()

    def stop(self, number: signal.Signals | None = None) -> None:  # noqa: D102
        self.was_ended = True
        self.resume()
        if number is not None:
            self._send(number)
        self._server.stop()
