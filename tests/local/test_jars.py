import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.local.jars import JarsNotResolved, NoMaven, resolve_jars
from millrace.local.java import BUNDLED_JAVA, find_java


def test_two_at_once_resolve_them_once(tmp_path: Path) -> None:
    java = find_java()
    barrier = threading.Barrier(2)

    def resolve(_: int) -> Path:
        barrier.wait()
        return resolve_jars(tmp_path, java)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(resolve, range(2))
    assert first == second
    names = {path.name.rsplit("-", 1)[0] for path in first.iterdir()}
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl", "log4j-core"} <= names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first.name, "lock"])


def test_without_maven_it_is_said_until_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUNDLED_JAVA
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoMaven, match="no Maven to get them"):
        resolve_jars(tmp_path / "libs", BUNDLED_JAVA)
    assert [path.name for path in (tmp_path / "libs").iterdir()] == ["lock"]


def test_a_network_that_is_not_there_is_said_and_nothing_half_done_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = " ".join(f"-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort=9" for scheme in ("http", "https"))
    monkeypatch.setenv("MAVEN_OPTS", f"-Dmaven.repo.local={tmp_path / 'empty'} {nowhere}")
    with pytest.raises(JarsNotResolved, match="Could not transfer artifact"):
        resolve_jars(tmp_path / "libs", find_java())
    assert [path.name for path in (tmp_path / "libs").iterdir()] == ["lock"]
