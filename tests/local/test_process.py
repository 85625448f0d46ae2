import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.local import Child, terminate_in_order
from millrace.local.process import MAX_LOG_BYTES, ProcessFailed

Until = Callable[[Callable[[], object]], None]

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def python(name: str, script: str, logs: Path) -> Child:
    return Child(name, [sys.executable, "-c", script], logs=logs)


def test_output_of_both_streams_is_in_its_log(tmp_path: Path, until: Until) -> None:
    child = python("talker", "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)", tmp_path)
    until(lambda: not child.is_running)
    assert child.exit_code == 3
    assert sorted((tmp_path / "talker.log").read_text().split()) == ["one", "two"]


def test_the_tail_shows_this_run_only(tmp_path: Path, until: Until) -> None:
    first = python("talker", "print('first')", tmp_path)
    until(lambda: not first.is_running)
    second = python("talker", "print('second')", tmp_path)
    until(lambda: not second.is_running)
    assert second.log_tail() == "second"


def test_a_long_log_is_set_aside(tmp_path: Path, until: Until) -> None:
    (tmp_path / "talker.log").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    child = python("talker", "print('new')", tmp_path)
    until(lambda: not child.is_running)
    assert (tmp_path / "talker.log").read_text() == "new\n"
    assert (tmp_path / "talker.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_one_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = python("talker", "raise SystemExit('no such valley')", tmp_path)
    with pytest.raises(ProcessFailed, match=r"talker ended with 1; it said: no such valley; log: .*/talker\.log\."):
        child.wait_until(lambda: False, deadline_s=10)


def test_one_that_is_never_ready_is_told_at_the_deadline(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "600"], logs=tmp_path)
    with pytest.raises(ProcessFailed, match="sleeper is running, but not ready"):
        child.wait_until(lambda: False, deadline_s=0.1)
    child.kill()
    assert child.exit_code == -signal.SIGKILL


def test_one_that_obeys_is_not_killed(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "600"], logs=tmp_path)
    child.terminate(deadline_s=10)
    assert child.exit_code == -signal.SIGTERM
    child.terminate(deadline_s=10)
    child.kill()


@pytest.mark.parametrize("end", [lambda child: child.terminate(deadline_s=0.2), Child.kill])
def test_one_that_does_not_obey_is_killed_with_its_own_children(
    tmp_path: Path, until: Until, is_gone: Callable[[int], bool], end: Callable[[Child], None]
) -> None:
    child = python("stubborn", STUBBORN, tmp_path)
    until(child.log_tail)
    grandchild = int(child.log_tail())
    end(child)
    assert child.exit_code == -signal.SIGKILL
    assert is_gone(grandchild)


def test_stages_end_in_order(tmp_path: Path, until: Until) -> None:
    script = """
import signal, sys, time
def end(*_):
    time.sleep(0.2)
    print(time.monotonic(), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
"""
    gateway, parse, embed = (python(name, script, tmp_path) for name in ("gateway", "parse", "embed"))
    for child in (gateway, parse, embed):
        until(child.log_tail)
    began = time.monotonic()
    terminate_in_order([[gateway], [parse, embed]], deadline_s=20)
    assert time.monotonic() - began < 0.55  # The two of the second stage end side by side.
    ended = [float(child.log_tail(1)) for child in (gateway, parse, embed)]
    assert ended[0] < min(ended[1:])
    assert {child.exit_code for child in (gateway, parse, embed)} == {0}


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child("sleeper", ["sleep", "600"], logs=tmp_path)))
    thread.start()
    thread.join()
    with pytest.raises(subprocess.TimeoutExpired):
        children[0]._popen.wait(0.3)
    children[0].kill()


def test_it_does_not_outlive_a_killed_supervisor(tmp_path: Path, until: Until, is_gone: Callable[[int], bool]) -> None:
    script = f"""
import time
from pathlib import Path
from millrace.local import Child
print(Child("sleeper", ["sleep", "600"], logs=Path({str(tmp_path)!r})).pid, flush=True)
time.sleep(600)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    child = int(supervisor.stdout.readline())
    assert not is_gone(child)
    supervisor.kill()
    until(lambda: is_gone(child))
    supervisor.communicate()
