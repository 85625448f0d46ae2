"""A worker that ends, or falls asleep, the first time it comes to a window. None of this is part of the product."""

import asyncio
import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from millrace import logs
from streams import parse
from streams.worker import run_worker
from tests.guarantees.windows import BY_NAME, Window

ARMED, STOPPING, LATE = "armed", "stopping", "late"
"""What a life says: it will stop; it stops now; what it was at when it fell asleep has come to its end."""


def live(connection: Connection, environment: Mapping[str, str | None], log_path: str, stages: tuple[str, ...]) -> None:
    """Be a worker until the end; ``connection`` brings the windows to stop at, each with its signal."""
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    with open(log_path, "ab") as log:  # noqa: PTH123
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logs.configure("info")
    parse.TOLD_AFTER_S = 0.0  # the tests wait to hear of it, however soon it is over
    uvloop.run(_work(connection, stages))


async def _work(connection: Connection, stages: tuple[str, ...]) -> None:
    def read() -> None:
        try:
            name, number = connection.recv()
        except EOFError:  # the tests are over
            os.kill(os.getpid(), signal.SIGKILL)
        arm(BY_NAME[name], lambda: _stop(connection, number))
        connection.send(ARMED)

    asyncio.get_running_loop().add_reader(connection.fileno(), read)
    await run_worker(stages, asyncio.Event())


def _stop(connection: Connection, number: signal.Signals) -> None:
    if number is signal.SIGSTOP and (task := asyncio.current_task()):
        task.add_done_callback(lambda _: connection.send(LATE))
    connection.send(STOPPING)
    os.kill(os.getpid(), number)


def arm(window: Window, stop: Callable[[], None]) -> None:
    """Have ``stop`` called the first time that the process is in the window."""
    module_name, _, path = window.place.target.partition(":")
    *classes, name = path.split(".")
    owner = functools.reduce(getattr, classes, importlib.import_module(module_name))
    original = getattr(owner, name)
    signature = inspect.signature(original)
    waiting = [stop]

    def holds(args: Any, kwargs: Any) -> bool:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return bool(waiting) and window.place.holds(call.arguments)

    async def called(*args: Any, **kwargs: Any) -> Any:
        here = holds(args, kwargs)
        if here and window.place.before:
            waiting.pop()()
        result = await original(*args, **kwargs)
        if here and not window.place.before and waiting:
            if isinstance(result, asyncio.Future):  # of a record: it is sent once the broker has acknowledged it
                await asyncio.wait([result])
            waiting.pop()()
        return result

    def called_at_once(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if holds(args, kwargs):
            waiting.pop()()
        return result

    setattr(owner, name, called if inspect.iscoroutinefunction(original) else called_at_once)
