"""A data folder for each test, and Kafka's jars kept for all of them."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from millrace.local import Home
from millrace.local.process import is_alive

LIBS = Path(__file__).parents[2] / ".millrace" / "kafka-libs"

Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", libs=LIBS)


@pytest.fixture
def until() -> Until:
    """Wait for a condition; fail after 20 s."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition was never met"
            time.sleep(0.02)

    return wait


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    def gone(pid: int) -> bool:
        try:
            return not is_alive(psutil.Process(pid))
        except psutil.NoSuchProcess:
            return True

    return gone
