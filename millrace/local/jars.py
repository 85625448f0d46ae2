"""Kafka's jars, resolved once by Maven from the ``pom.xml`` beside this module."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from schemas.errors import MillraceError

POM = Path(__file__).parent / "pom.xml"
GOAL = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
# 43 MB; seconds on a good line, and this long on 1.2 Mbit/s.
MAVEN_DEADLINE_S = 300


class NoMaven(MillraceError):
    """Kafka's jars are not there yet, and there is no Maven to get them."""

    type = "no-maven"
    hint = (
        "Install it (Debian: apt install maven; macOS: brew install maven), or set KAFKA_BOOTSTRAP_SERVERS to use a "
        "Kafka that runs elsewhere."
    )


class JarsNotResolved(MillraceError):
    """Maven could not get Kafka's jars."""

    type = "jars-not-resolved"
    hint = "Try again once the network is there; behind a proxy or mirror, Maven needs its settings.xml."


def resolve_jars(libs: Path, java: Path) -> Path:
    """The folder under ``libs`` that holds the jars, filled if it is not there yet.

    A folder by that name is complete: it is filled under another name, then renamed. The name tells the version, so
    that a new ``pom.xml`` gets a new folder. Processes that ask at once wait for the first. Raises ``NoMaven`` and
    ``JarsNotResolved``.
    """
    complete = libs / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    if complete.exists():
        return complete
    libs.mkdir(parents=True, exist_ok=True)
    with (libs / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            with tempfile.TemporaryDirectory(dir=libs, ignore_cleanup_errors=True) as unfinished:
                _copy_jars(Path(unfinished, "jars"), java)
                Path(unfinished, "jars").rename(complete)
    return complete


def _copy_jars(folder: Path, java: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise NoMaven
    options = ["--quiet", "--batch-mode", "--strict-checksums", f"--file={POM}"]
    try:
        subprocess.run(  # noqa: S603 - our own command
            [maven, *options, f"-DoutputDirectory={folder.absolute()}", GOAL],
            # Maven is a Java program itself: it gets the one that we found.
            env={**os.environ, "JAVA_HOME": str(java.resolve().parent.parent)},
            capture_output=True,
            text=True,
            check=True,
            timeout=MAVEN_DEADLINE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise JarsNotResolved(f"It did not end within {MAVEN_DEADLINE_S} s.") from error
    except subprocess.CalledProcessError as error:
        said = error.stdout.strip() or error.stderr.strip() or f"It ended with {error.returncode}."
        reason = said.splitlines()[0].rpartition("[ERROR] ")[2].partition(" -> ")[0]
        raise JarsNotResolved(reason[:500]) from error
