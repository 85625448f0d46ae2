import subprocess
from pathlib import Path

import pytest

from millrace.local.java import BUNDLED_JAVA, NoJava, find_java


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java: an empty PATH, whose folder is given."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_the_hosts_the_bundled_one_is_used(bare: Path) -> None:
    java = find_java()
    assert java == BUNDLED_JAVA
    subprocess.run([java, "-version"], check=True, capture_output=True)


def test_no_java_at_all_is_said(bare: Path) -> None:
    with pytest.raises(NoJava, match=r"No Java 17 or later was found"):
        find_java(bundled=None)


@pytest.mark.parametrize("script", ["echo 'openjdk version \"11.0.2\"' >&2", "exit 1"])
def test_one_that_is_too_old_or_does_not_run_is_passed_over(bare: Path, script: str) -> None:
    (bare / "java").write_text(f"#!/bin/sh\n{script}\n")
    (bare / "java").chmod(0o755)
    assert find_java() == BUNDLED_JAVA


def test_java_home_comes_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUNDLED_JAVA
    monkeypatch.setenv("JAVA_HOME", str(BUNDLED_JAVA.parent.parent))
    assert find_java(bundled=None) == BUNDLED_JAVA
