"""`millrace demo`, as a newcomer runs it: twice, each ended by Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from millrace.local.home import Home
from millrace.local.ports import free_port
from millrace.local.process import is_alive

SECOND_START_S = 10
DEADLINE_S = 240


class Demo:
    """A run of the demo, with all it printed until it was up."""

    def __init__(self, environment: dict[str, str]) -> None:
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "millrace", "demo"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.output = ""
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C stops everything" in line:
                break
        self.seconds = time.monotonic() - started
        assert self.process.poll() is None, self.output
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, also where a test failed half way."""
        if self.process.poll() is None:
            self.interrupt()

    def interrupt(self) -> None:
        """Ctrl-C; returns once it has ended."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home of its own, with the jars that are here already, and free ports."""
    (tmp_path / "kafka-libs").symlink_to(Home.default().kafka_libs.absolute())
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "KAFKA_", "DATABASE_"))
    }
    ports = {f"MILLRACE_{name}_PORT": str(free_port()) for name in ("KAFKA", "POSTGRES", "GATEWAY")}
    yield ours | ports | {"MILLRACE_HOME": str(tmp_path), "COLUMNS": "400"}


@pytest.mark.timeout(DEADLINE_S)
def test_the_demo_runs_twice_and_leaves_nothing_running(environment: dict[str, str]) -> None:
    with Demo(environment) as first:
        assert len(set(re.findall(r"^(\S+) .* indexed", first.output, re.MULTILINE))) >= 12, first.output
        assert re.search(r"^\[1\] .*characters \d+–\d+", first.output, re.MULTILINE), first.output
        assert first.family
        first.interrupt()
        assert first.process.returncode == 0
        assert not [process for process in first.family if is_alive(process)]

    with Demo(environment) as second:
        assert "indexed already" in second.output
        assert re.search(r"^\[1\] ", second.output, re.MULTILINE), second.output
        second.interrupt()
        assert not [process for process in second.family if is_alive(process)]

    subprocess.run([sys.executable, "-m", "millrace", "clean-data"], env=environment, check=True)
    assert not (Path(environment["MILLRACE_HOME"]) / "blobs").exists()
    # Last, as the one figure here that a busy machine can spoil.
    assert second.seconds < SECOND_START_S
