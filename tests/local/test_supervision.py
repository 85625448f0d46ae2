"""Kafka and Postgres together, under a supervisor that is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil

from millrace.local import Home, LocalKafka, LocalPostgres

Until = Callable[[Callable[[], object]], None]

SUPERVISOR = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from millrace.local import Home, LocalKafka, LocalPostgres

home = Home(Path(sys.argv[1]), libs=Path(sys.argv[2]))
with ThreadPoolExecutor() as pool:  # Its threads end here; what they started does not.
    servers = [started.result() for started in [pool.submit(kind(home).start) for kind in (LocalKafka, LocalPostgres)]]
print("ready", flush=True)
time.sleep(600)
"""


def test_nothing_is_left_of_a_killed_supervisor_and_the_next_start_works(
    home: Home, until: Until, is_gone: Callable[[int], bool]
) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, home.root, home.kafka_libs], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout
    assert supervisor.stdout.readline() == "ready\n"
    processes = [child.pid for child in psutil.Process(supervisor.pid).children(recursive=True)]
    assert len(processes) > 4
    os.kill(supervisor.pid, signal.SIGKILL)

    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(local.start) for local in (LocalKafka(home), LocalPostgres(home))]
        servers = [start.result() for start in starts]
    until(lambda: all(is_gone(pid) for pid in processes))
    for server in servers:
        server.stop()
    supervisor.communicate()
