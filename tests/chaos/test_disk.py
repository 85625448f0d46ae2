from pathlib import Path

import pytest

from millrace.chaos.disk import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "small", 4 << 20)


def test_it_is_full_to_the_last_byte_and_then_free(disk: Disk) -> None:
    with disk.mounted():
        if not disk.is_small:
            pytest.skip("mounting is refused here")
        kept = disk.folder / "kept"
        kept.write_bytes(b"before")
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "one").write_bytes(b"x")
        disk.free()
        (disk.folder / "one").write_bytes(b"x")
        assert kept.read_bytes() == b"before"


def test_what_it_held_is_there_afterwards(disk: Disk) -> None:
    with disk.mounted():
        (disk.folder / "kept").write_bytes(b"for whoever looks into it")
    assert [path.name for path in disk.folder.parent.rglob("*")] == ["small", "kept"]
    assert (disk.folder / "kept").read_bytes() == b"for whoever looks into it"
