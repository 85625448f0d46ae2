"""Parts of Millrace in processes of their own, with settings of their own."""

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from millrace.local.ports import free_port
from millrace.local.process import Child

READY_DEADLINE_S = 60


@contextmanager
def started(name: str, logs: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, Child]]:
    """A gateway or a worker that is ready: its address, and its process."""
    port = str(free_port())
    own = {f"MILLRACE_{name.upper()}_PORT": port, "MILLRACE_WORKER_INSTANCE_ID": uuid.uuid4().hex}
    command = [sys.executable, "-m", "millrace", name]
    child = Child(f"{name}-{port}", command, logs=logs, env={**os.environ, **environment, **own})
    url = f"http://127.0.0.1:{port}"
    ready = f"{url}/readyz" if name == "gateway" else f"{url}/healthz"
    try:
        child.wait_until(lambda: _answers(ready), deadline_s=READY_DEADLINE_S)
        yield url, child
    finally:
        child.terminate(deadline_s=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
