"""What the local Kafka and the local Postgres have in common: one server process on one folder and one port."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from millrace.local.home import Home
from millrace.local.lock import FolderLock
from millrace.local.ports import free_port, port_in_use, require_free_port
from millrace.local.process import Child, ProcessFailed

# Another process can take a free port between our choice and the server's bind.
PORT_ATTEMPTS = 3
ADDRESS_IN_USE = "Address already in use"


class LocalServer(ABC):
    """A server that keeps its data in ``folder``. With no ``port`` it takes a free one, a new one at each start."""

    title: ClassVar[str]
    start_deadline_s: ClassVar[float]
    stop_deadline_s: ClassVar[float]

    def __init__(self, home: Home, port: int | None = None) -> None:
        self.home = home
        self.port = port or 0
        self._has_fixed_port = bool(port)
        self._child: Child | None = None
        self._lock: FolderLock | None = None

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where its data and its lock are."""

    @abstractmethod
    def _prepare(self) -> None:
        """Do what the first start needs, wholly or not at all."""

    @abstractmethod
    def _spawn(self, lock_descriptor: int) -> Child:
        """Start the process on ``self.port``."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Does it answer a real request?"""

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the first start."""
        return self._child.pid if self._child else None

    @property
    def is_running(self) -> bool:
        """True from the start until the process has ended, in whatever way."""
        return self._child is not None and self._child.is_running

    def start(self) -> Self:
        """Return once it answers.

        Raises ``AlreadyRunning``, ``PortInUse``, ``TooLittleDisk``, ``HomeNotUsable`` and ``ProcessFailed``.
        """
        self.home.prepare()
        lock = FolderLock(self.folder / "lock")
        self._lock = lock
        try:
            if self._has_fixed_port:
                require_free_port(self.port, self.title)
            self._prepare()
            self._start_process(lock.descriptor)
        except BaseException:
            self.kill()
            raise
        return self

    def _start_process(self, lock_descriptor: int) -> None:
        for _ in range(PORT_ATTEMPTS):
            if not self._has_fixed_port:
                self.port = free_port()
            self._child = child = self._spawn(lock_descriptor)
            try:
                child.wait_until(self.is_ready, deadline_s=self.start_deadline_s)
            except BaseException as error:
                child.kill()
                if not (isinstance(error, ProcessFailed) and ADDRESS_IN_USE in child.log_tail()):
                    raise
            else:
                return
        raise port_in_use(self.port, self.title)

    def stop(self) -> None:
        """End it cleanly; killed at ``stop_deadline_s``."""
        if self._child:
            self._child.terminate(deadline_s=self.stop_deadline_s)
        self._release()

    def kill(self) -> None:
        """End all its processes at once, with no chance to tidy up."""
        if self._child:
            self._child.kill()
        self._release()

    def _release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
