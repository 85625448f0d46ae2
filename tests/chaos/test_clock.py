import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.chaos.clock import Clocks

TELLS_THE_TIME = """
import datetime, sys, time
for _ in sys.stdin:
    time.sleep(0.001)
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""


def test_the_wall_clock_jumps_in_a_running_process_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    clocks.prepare()
    if not clocks.can_jump:
        pytest.skip("no C compiler here")
    with subprocess.Popen(
        [sys.executable, "-c", TELLS_THE_TIME],
        env={**os.environ, **clocks.environment("one")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def ask() -> list[float]:
            stdin.write("\n")
            stdin.flush()
            return [float(word) for word in stdout.readline().split()]

        before = ask()
        for offset_s in (7200, -7200, 0):
            clocks.jump("one", offset_s)
            wall, date, monotonic = ask()
            assert wall - before[0] == pytest.approx(offset_s, abs=60)
            assert date - before[1] == pytest.approx(offset_s, abs=60)
            assert 0 < monotonic - before[2] < 60
        stdin.close()
