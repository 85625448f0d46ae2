import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.local.lock import AlreadyRunning, FolderLock

Until = Callable[[Callable[[], object]], None]


def test_the_second_owner_is_told_the_first(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock")
    with pytest.raises(AlreadyRunning, match=f"{tmp_path} belongs to process {os.getpid()}"):
        FolderLock(tmp_path / "lock")
    first.release()
    FolderLock(tmp_path / "lock").release()


def test_a_lock_file_that_a_dead_owner_left_is_free(tmp_path: Path) -> None:
    script = f"import os\nfrom millrace.local.lock import *\nFolderLock(Path({str(tmp_path / 'lock')!r}))\nos._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "lock").read_text()
    FolderLock(tmp_path / "lock").release()


def test_a_killed_owner_keeps_it_while_its_child_runs(tmp_path: Path, until: Until) -> None:
    script = f"""
import subprocess, time
from millrace.local.lock import *
lock = FolderLock(Path({str(tmp_path / "lock")!r}))
subprocess.Popen(["sleep", "1"], pass_fds=[lock.descriptor])
Path({str(tmp_path / "ready")!r}).touch()
time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", script])
    until((tmp_path / "ready").exists)
    killed_at = time.monotonic()
    owner.send_signal(signal.SIGKILL)
    FolderLock(tmp_path / "lock").release()
    assert 0.3 < time.monotonic() - killed_at < 5
    owner.wait()
