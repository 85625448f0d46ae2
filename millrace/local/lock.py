"""One owner for a data folder, also after a supervisor was killed."""

import fcntl
import os
import time
from pathlib import Path

import psutil

from millrace.local.process import is_alive
from schemas.errors import MillraceError

# An owner that was just sent SIGKILL still shows for a moment.
OWNER_WAIT_S = 1.0
# A server whose owner was killed is gone within milliseconds, a Postgres with busy backends within 5 s.
LEFTOVER_WAIT_S = 10.0


class AlreadyRunning(MillraceError):
    """Millrace is already running on this data folder."""

    type = "already-running"
    hint = "Stop the other one first, or give this one its own folder with MILLRACE_HOME."


class FolderLock:
    """The lock file, held from here to ``release``; raises ``AlreadyRunning`` while another process holds it.

    Let the child that uses the folder inherit ``descriptor``: then the lock is free only when the child, too, has
    ended, and not as soon as its supervisor was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire()
        except BaseException:
            self.release()
            raise
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Closed, not unlocked: unlocking would also take it from a child that still runs."""
        os.close(self.descriptor)

    def _acquire(self) -> None:
        began = time.monotonic()
        while True:
            try:
                return fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = int(os.pread(self.descriptor, 20, 0) or 0)
                if time.monotonic() - began > (OWNER_WAIT_S if _runs(holder) else LEFTOVER_WAIT_S):
                    detail = f"{self.path.parent} belongs to process {holder}, or to one that it left behind."
                    raise AlreadyRunning(detail) from None
                time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return pid > 0 and is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
