"""Child processes that log to a file, end in order, and never outlive their supervisor."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from millrace.local.account import Account
from schemas.errors import MillraceError

# A longer log file is set aside, over the one set aside before, when its process starts again.
MAX_LOG_BYTES = 10 << 20
PR_SET_PDEATHSIG = 1

# Linux sends the death signal when the *thread* that forked the child ends. One thread that lives as long as the
# interpreter therefore starts them all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
_libc = ctypes.CDLL(None)


class ProcessFailed(MillraceError):
    """A local process did not start, or ended by itself."""

    type = "process-failed"
    hint = "Its log file says more."


class Child:
    """A running child process in a process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone.

    On Linux the child is sent ``death_signal`` when the supervisor ends in any way, kill -9 included. That holds for
    the child, not for what it starts itself. ``keep_open`` are file descriptors that it inherits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        logs: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        keep_open: Sequence[int] = (),
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log_path = logs / f"{name}.log"
        self._stop_signal = stop_signal
        account = account or Account()
        logs.mkdir(parents=True, exist_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > MAX_LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._popen = _spawner.submit(
                subprocess.Popen,
                [*account.prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                user=account.uid,
                group=account.gid,
                extra_groups=account.extra_groups,
                pass_fds=keep_open,
                process_group=0,
                preexec_fn=_die_with(os.getpid(), death_signal),
            ).result()

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._popen.poll()

    @property
    def is_running(self) -> bool:
        """True until the process has ended."""
        return self.exit_code is None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that this run wrote."""
        with self.log_path.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 64_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def failure(self) -> ProcessFailed:
        """The error that tells how it ended, with the last line it wrote."""
        code, last = self.exit_code, self.log_tail(1).strip()
        how = "is running, but not ready" if code is None else f"ended with {code}"
        return ProcessFailed(f"{self.name} {how}; {f'it said: {last[:300]}; ' if last else ''}log: {self.log_path}.")

    def wait_until(self, ready: Callable[[], bool], *, deadline_s: float, poll_s: float = 0.02) -> None:
        """Return once ``ready``; raise ``ProcessFailed`` if the child ends first, or at the deadline."""
        deadline = time.monotonic() + deadline_s
        while not ready():
            if not self.is_running or time.monotonic() > deadline:
                raise self.failure()
            time.sleep(poll_s)

    def terminate(self, *, deadline_s: float) -> None:
        """Ask it to end, and kill it and all that it started if it has not by the deadline."""
        terminate_in_order([[self]], deadline_s=deadline_s)

    def kill(self) -> None:
        """End it and all that it started, at once (SIGKILL)."""
        _finish([self], [*self._family()], deadline_s=0)

    def _ask_to_end(self) -> None:
        if self.is_running:
            self._popen.send_signal(self._stop_signal)

    def _family(self) -> list[psutil.Process]:
        if not self.is_running:
            return []
        leader = psutil.Process(self.pid)
        return [leader, *leader.children(recursive=True)]


def terminate_in_order(stages: Iterable[Sequence[Child]], *, deadline_s: float) -> None:
    """End one stage after the other; the children of a stage together. The deadline is for all of them.

    Those that have not ended by then are killed, with all that they had started.
    """
    deadline = time.monotonic() + deadline_s
    for children in stages:
        families = [process for child in children for process in child._family()]
        for child in children:
            child._ask_to_end()
        _finish(children, families, deadline_s=deadline - time.monotonic())


def _finish(children: Sequence[Child], families: Sequence[psutil.Process], *, deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    for child in children:
        try:
            child._popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Once more: it may have had children since.
            families = [*child._family(), *families]
    for process in families:
        # psutil tells it from a later process with the same id, so nothing foreign is hit.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for child in children:
        child._popen.wait()
    while any(is_alive(process) for process in families):
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    """False as well for a zombie, which has ended and only waits to be asked for its exit code."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _die_with(supervisor_pid: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None

    def before_exec() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != supervisor_pid:  # It ended before we asked.
            os._exit(1)

    return before_exec
