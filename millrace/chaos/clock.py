"""Wall clocks of processes, which can jump while they run, by a small library that is compiled here and preloaded.

libfaketime 0.9.10 would do it, but with the monotonic clock left true Python's `time.sleep` fails under it.
"""

import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clocks:
    """One for each process; ``can_jump`` is false where there is no C compiler, or no Linux."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clock.so"
        self.can_jump = False

    def prepare(self) -> None:
        """Compile the library."""
        compiler = shutil.which("cc") if sys.platform == "linux" else None
        if compiler:
            command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE)]
            self.can_jump = subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603

    def jump(self, process: str, offset_s: int) -> None:
        """Let a process's clock be so far ahead of the true time, or behind it if negative."""
        with self._file(process).open("r+b") as file:
            file.write(struct.pack("q", offset_s))

    def environment(self, process: str) -> Mapping[str, str]:
        """What lets a new process live by its clock."""
        if not self.can_jump:
            return {}
        self._file(process).write_bytes(struct.pack("q", 0))
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET_FILE": str(self._file(process))}

    def _file(self, process: str) -> Path:
        return self._folder / f"{process}.clock"
