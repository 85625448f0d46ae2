"""What a process and all that it started hold."""

from contextlib import suppress

import psutil


def held_bytes(root: psutil.Process) -> dict[int, int]:
    """Bytes by process id.

    Each page of memory counts once: a process's proportional set size (PSS) has its private pages in full and its share
    of those that it maps together with others. Summing resident sizes (RSS) would count the interpreter and the
    libraries again for every process.
    """
    found = {}
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found[process.pid] = process.memory_full_info().pss
    return found
