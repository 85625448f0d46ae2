"""The object store: whole blobs or none, inside its folder."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.blobs import PART_BYTES, Blobs, BlobSettings
from db.errors import BlobMissing, BlobsUnavailable

KEY = "t/originals/one"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(BlobSettings(url=str(tmp_path / "blobs")))


async def parts(*given: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for part in given:
        yield part
    if error:
        raise error


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("sizes", [(), (1,), (10, 0, 20), (PART_BYTES, 1), (3 * PART_BYTES + 7,), (1_000_000,) * 12])
async def test_what_is_written_comes_back(blobs: Blobs, sizes: tuple[int, ...]) -> None:
    data = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    assert await blobs.write(KEY, parts(*data)) == sum(sizes)
    assert await blobs.get(KEY) == b"".join(data)
    assert b"".join([part async for part in await blobs.stream(KEY)]) == b"".join(data)
    async with blobs.as_file(KEY) as path:
        assert path.read_bytes() == b"".join(data)


@pytest.mark.parametrize("before", [1, PART_BYTES + 1])
async def test_a_stream_that_fails_leaves_nothing(blobs: Blobs, tmp_path: Path, before: int) -> None:
    with pytest.raises(ConnectionResetError):
        await blobs.write(KEY, parts(b"x" * before, error=ConnectionResetError("cut")))
    assert files(tmp_path) == []


async def test_what_is_not_there(blobs: Blobs) -> None:
    await blobs.put("t/other", b"1")
    for missing in (KEY, "t", "nobody/at/all", f"t/{'n' * 300}", "t/other/below"):
        with pytest.raises((BlobMissing, BlobsUnavailable)):
            await blobs.get(missing)
        with pytest.raises((BlobMissing, BlobsUnavailable)):
            await blobs.stream(missing)
        with pytest.raises(BlobMissing):
            async with blobs.as_file(missing):
                pass
    await blobs.delete([KEY, "t/other", "t/other"])
    with pytest.raises(BlobMissing, match="no such content"):
        await blobs.get("t/other")


@pytest.mark.parametrize(
    "trick", ["../secret", "t/../../secret", "/{folder}/secret", "t/link/secret", "file:///{folder}/secret"]
)
async def test_nothing_outside_of_the_folder_is_reached(blobs: Blobs, tmp_path: Path, trick: str) -> None:
    (tmp_path / "secret").write_text("hush")
    (tmp_path / "blobs" / "t").mkdir(parents=True)
    (tmp_path / "blobs" / "t" / "link").symlink_to(tmp_path)
    with pytest.raises(BlobMissing):
        async with blobs.as_file(trick.format(folder=str(tmp_path).lstrip("/"))):
            pass


@pytest.mark.parametrize("name", ["~x", "a..b", "a.", "a b", "ümlaut", "%41", "a#b", "x" * 200])
async def test_a_file_lies_where_its_key_says(blobs: Blobs, name: str) -> None:
    await blobs.put(f"t/{name}", b"1")
    async with blobs.as_file(f"t/{name}") as path:
        assert path.read_bytes() == b"1"


async def test_a_store_that_refuses_is_worth_another_attempt(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "t").write_text("a file where a folder should be")
    with pytest.raises(BlobsUnavailable) as caught:
        await blobs.put(KEY, b"1")
    assert caught.value.transient
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(BlobsUnavailable):
        await blobs.write(KEY, parts(b"1"))


async def test_a_folder_may_be_given_as_a_url(tmp_path: Path) -> None:
    await Blobs(BlobSettings(url=tmp_path.as_uri())).put(KEY, b"1")
    assert await Blobs(BlobSettings(url=str(tmp_path))).get(KEY) == b"1"


async def test_a_stream_that_is_cut_is_an_outage() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n")
        writer.write(b"half")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        blobs = Blobs(BlobSettings(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        with pytest.raises(BlobsUnavailable) as caught:
            async for _ in await blobs.stream(KEY):
                pass
        assert caught.value.transient
