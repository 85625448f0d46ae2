"""What a process that reads strangers' files gives up before it reads the first: memory, network, files, programs.

Limits by ``setrlimit`` hold on every Unix. The rest is Linux's: a seccomp filter needs no root and, unlike a network
namespace, is allowed inside containers and on distributions that forbid unprivileged namespaces.
"""

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

OOM_SCORE = 800
"""Of 1,000: where the machine's memory runs out, the kernel ends this process before the worker or a database."""
OPEN_FILES_MAX = 256
WRITTEN_FILE_BYTES_MAX = 65_536
"""Enough for the last words of a library; nothing else is ever written."""

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
"""The filter holds for threads that run already."""
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_EACCES = 0x00050000 | 13
SECCOMP_RET_KILL_PROCESS = 0x80000000
LOAD_WORD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
CALL_OFFSET, ARCHITECTURE_OFFSET = 0, 4
X32_CALLS = 0x40000000
"""The same calls under other numbers, on x86-64; nobody uses them but to get around filters."""


class _Machine(NamedTuple):
    """An architecture's name in the kernel, and the numbers of its calls."""

    audit: int
    seccomp: int
    socket: int
    execve: int
    execveat: int
    ptrace: int
    io_uring_setup: int = 425
    """A ring makes sockets past any filter of calls."""


MACHINES = {
    "x86_64": _Machine(0xC000003E, seccomp=317, socket=41, execve=59, execveat=322, ptrace=101),
    "aarch64": _Machine(0xC00000B7, seccomp=277, socket=198, execve=221, execveat=281, ptrace=117),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def confine(memory_bytes_max: int) -> str | None:
    """Bind this process to its limits, for good. Returns what the system refused, in words, or None.

    ``memory_bytes_max`` is what it may allocate in all, beyond which allocations fail; macOS does not enforce it.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _limit(resource.RLIMIT_FSIZE, WRITTEN_FILE_BYTES_MAX)
    # Not the address space: thread stacks and allocators reserve gigabytes of that which they never touch.
    _limit(resource.RLIMIT_DATA, memory_bytes_max)
    if sys.platform != "linux":
        return "only Linux can take the network away"
    with suppress(OSError):  # Read-only in some sandboxes; then only the kernel's choice of victim is worse.
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}")
    return _take_calls_away()


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))


def _take_calls_away() -> str | None:
    """No sockets, no other programs, no debugging of neighbours: such calls fail with EACCES from here on."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return f"no filter for {platform.machine()}"
    instructions = list(_filter(machine))
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(machine.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program)):
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return None


def _filter(machine: _Machine) -> Iterator[_Instruction]:
    refused = (machine.socket, machine.execve, machine.execveat, machine.ptrace, machine.io_uring_setup)
    yield _Instruction(LOAD_WORD, 0, 0, ARCHITECTURE_OFFSET)
    yield _Instruction(JUMP_IF_EQUAL, 1, 0, machine.audit)
    yield _Instruction(RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS)
    yield _Instruction(LOAD_WORD, 0, 0, CALL_OFFSET)
    yield _Instruction(JUMP_IF_AT_LEAST, len(refused) + 1, 0, X32_CALLS)
    for index, call in enumerate(refused):
        yield _Instruction(JUMP_IF_EQUAL, len(refused) - index, 0, call)
    yield _Instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW)
    yield _Instruction(RETURN, 0, 0, SECCOMP_RET_EACCES)
