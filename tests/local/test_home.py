from pathlib import Path

import pytest

from millrace.local import Home, LocalKafka, LocalPostgres
from millrace.local.home import HomeNotUsable, TooLittleDisk


def test_default_is_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    assert Home.default().root == tmp_path / ".millrace"


def test_environment_names_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "elsewhere"))
    home = Home.default()
    home.prepare()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [
        "blobs",
        "kafka",
        "kafka-libs",
        "logs",
        "postgres",
    ]


@pytest.mark.parametrize("min_free_bytes", [1 << 50, 1 << 60])
@pytest.mark.parametrize("server", [LocalKafka, LocalPostgres])
def test_too_little_disk_is_said_with_the_folder(
    tmp_path: Path, min_free_bytes: int, server: type[LocalKafka | LocalPostgres]
) -> None:
    local = server(Home(tmp_path / "home", min_free_bytes=min_free_bytes))
    with pytest.raises(TooLittleDisk, match=rf"{tmp_path}/home has [\d.]+ GiB free and needs {min_free_bytes >> 30}.0"):
        local.start()
    assert not local.is_running
    assert local.pid is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeNotUsable, match=f"{tmp_path}/file/home"):
        Home(tmp_path / "file" / "home").prepare()
