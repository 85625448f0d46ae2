"""What processes use: processor time, memory, disk.

Processor time is what can be compared on a machine that others use as well.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

MIB = 1 << 20


def cpu_s(root: psutil.Process) -> float:
    """Processor seconds, in user and kernel mode, of a process and all that it started, the ended ones included."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mib(root: psutil.Process) -> float:
    """Proportional set size (PSS) of a process and all that it started: memory shared with others counts in part."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss / MIB
    return total


def cpu_by_part(parts: Mapping[str, psutil.Process]) -> dict[str, float]:
    """`cpu_s` of each."""
    return {name: cpu_s(process) for name, process in parts.items()}


def memory_by_part(parts: Mapping[str, psutil.Process]) -> dict[str, float]:
    """`memory_mib` of each."""
    return {name: round(memory_mib(process), 1) for name, process in parts.items()}


def cpu_between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part used meanwhile."""
    return {name: round(after[name] - before[name], 3) for name in before}


def disk_bytes(folder: Path) -> int:
    """Of all files below it that are there long enough to be looked at."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512 if path.is_file() else 0
    return total
