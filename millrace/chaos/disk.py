"""A disk of its own for one folder, small enough to be filled up."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BALLAST_STEPS_BYTES = (1 << 20, 4096, 1)
"""Large steps first; then to the last byte, since a small write would still fit."""


class Disk:
    """A file system in memory on ``folder``; ``is_small`` is false where mounting is refused: only root may."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self.is_small = False
        self._size_bytes = size_bytes

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it, empty; at the end what it holds is kept in the folder itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mount = shutil.which("mount")
        command = [mount or "mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.folder)]
        self.is_small = mount is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
        try:
            yield
        finally:
            if self.is_small:
                self._unmount()

    def _unmount(self) -> None:
        beside = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.copytree(self.folder, beside, symlinks=True)
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)  # noqa: S603, S607 - mounted it, so it is there
        self.folder.rmdir()
        beside.rename(self.folder)

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("wb", buffering=0) as file:
            for step in BALLAST_STEPS_BYTES:
                with suppress(OSError):
                    while file.write(bytes(step)) == step:
                        pass

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"
