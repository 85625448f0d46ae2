"""A wall clock of its own for a process, by libfaketime: it can jump while the process runs.

The monotonic clock goes on, as it does on a machine whose time is set.
"""

from collections.abc import Mapping
from pathlib import Path

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""Where Debian's package puts it."""


class Clock:
    """``file`` says how far the clock is off; ``can_jump`` is false where libfaketime is not installed."""

    can_jump = LIBRARY is not None

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, offset_s: int) -> None:
        """Be so far ahead of the true time, or behind it if negative."""
        # Renamed into place: a process that reads half a file takes some other time.
        written = self._file.with_suffix(".new")
        written.write_text(f"{offset_s:+d}\n")
        written.rename(self._file)

    def environment(self) -> Mapping[str, str]:
        """What lets a process live by this clock."""
        if LIBRARY is None:
            return {}
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            # Its shared memory would be left behind by each kill -9.
            "FAKETIME_DISABLE_SHM": "1",
        }
