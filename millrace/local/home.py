"""The one folder under which everything local lives."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from schemas.errors import MillraceError

# Kafka and Postgres both stop hard on a full disk, and Postgres alone keeps up to 1 GiB of write-ahead log.
MIN_FREE_BYTES = 1 << 30


class TooLittleDisk(MillraceError):
    """Too little disk space is free for the local data folder."""

    type = "too-little-disk"
    hint = "Free some space, or put the data folder on another disk with MILLRACE_HOME."


class HomeNotUsable(MillraceError):
    """The local data folder cannot be made or written."""

    type = "home-not-usable"
    hint = "Give yourself the right to write there, or choose another folder with MILLRACE_HOME."


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder and the rooms in it.

    ``libs`` is where Kafka's jars are kept; homes may share it, since nothing in it ever changes.
    """

    root: Path
    libs: Path | None = None
    min_free_bytes: int = MIN_FREE_BYTES

    @classmethod
    def default(cls) -> Self:
        """``MILLRACE_HOME``, else ``.millrace`` in the working folder."""
        return cls(Path(os.environ.get("MILLRACE_HOME") or ".millrace").expanduser().absolute())

    @property
    def kafka(self) -> Path:
        """Kafka's log segments, configuration and lock."""
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        """Postgres' cluster and lock."""
        return self.root / "postgres"

    @property
    def blobs(self) -> Path:
        """The documents' bytes."""
        return self.root / "blobs"

    @property
    def logs(self) -> Path:
        """One ``NAME.log`` for each process."""
        return self.root / "logs"

    @property
    def kafka_libs(self) -> Path:
        """Kafka's jars, a folder for each version."""
        return self.libs or self.root / "kafka-libs"

    def prepare(self) -> None:
        """Make the folders; raise ``HomeNotUsable``, or ``TooLittleDisk`` under ``min_free_bytes``."""
        try:
            for folder in (self.root, self.kafka, self.postgres, self.blobs, self.logs, self.kafka_libs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeNotUsable(f"{error.filename}: {error.strerror}.") from error
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < self.min_free_bytes:
            free_gib, needed_gib = free_bytes / (1 << 30), self.min_free_bytes / (1 << 30)
            raise TooLittleDisk(f"{self.root} has {free_gib:.1f} GiB free and needs {needed_gib:.1f} GiB.")
