"""The object store: a local folder by default; S3, GCS or Azure by URL."""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import obstore
import obstore.exceptions
from obstore.store import LocalStore, ObjectStore, from_url
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.errors import BlobMissing, BlobsUnavailable

PART_BYTES = 5 * 1_048_576
"""The smallest part that S3 accepts in a multipart upload."""
PARTS_IN_MEMORY_MAX = 2
"""Of one upload, on their way or being filled: 10 MiB."""


class BlobSettings(BaseSettings):
    """Where documents' bytes are kept."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_BLOBS_", frozen=True)

    url: str = Field(
        default=".millrace/blobs",
        description="A folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.",
    )


class Blobs:
    """Bytes by key. Keys are slash-separated; a blob is never changed once it is written.

    Every method raises `BlobsUnavailable` where the store does not answer, or does not take what it is given.
    """

    def __init__(self, settings: BlobSettings) -> None:
        self._folder: Path | None = None
        if urlsplit(settings.url).scheme in {"", "file"}:
            self._folder = Path(settings.url.removeprefix("file://")).resolve()
            self._store: ObjectStore = LocalStore(self._folder, mkdir=True)
        else:
            self._store = from_url(settings.url)

    async def write(self, key: str, parts: AsyncIterable[bytes]) -> int:
        """Stream parts into a blob and return its size; nothing is stored if the parts end in an exception."""
        size = 0
        with _own_errors(key):
            async with obstore.open_writer_async(
                self._store, key, buffer_size=PART_BYTES, max_concurrency=PARTS_IN_MEMORY_MAX
            ) as writer:
                async for part in parts:
                    size += len(part)
                    await writer.write(part)
        return size

    async def put(self, key: str, data: bytes) -> None:
        """Write a small blob at once."""
        with _own_errors(key):
            await obstore.put_async(self._store, key, data)

    async def get(self, key: str) -> bytes:
        """A whole blob. Raises `BlobMissing`."""
        with _own_errors(key):
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """A blob, part by part. Raises `BlobMissing` at once, and while it is read what the other methods raise."""
        with _own_errors(key):
            found = await obstore.get_async(self._store, key)
        return _parts(key, found)

    async def delete(self, keys: list[str]) -> None:
        """Delete blobs; those that are gone already do not matter."""
        for key in keys:
            with contextlib.suppress(BlobMissing), _own_errors(key):
                await obstore.delete_async(self._store, key)

    @contextlib.asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """A blob as a local file while the context lasts: parsers read files piecewise. Raises `BlobMissing`."""
        if self._folder is not None:
            yield _file(self._folder, key)
            return
        with tempfile.NamedTemporaryFile(prefix="millrace-") as copy:
            async for part in await self.stream(key):
                copy.write(part)
            copy.flush()
            yield Path(copy.name)


async def _parts(key: str, found: "obstore.GetResult") -> AsyncIterator[bytes]:
    with _own_errors(key):
        async for part in found.stream():
            yield bytes(part)


def _file(folder: Path, key: str) -> Path:
    path = folder / key
    # `os.path.isfile`, since `Path.is_file` raises where a name is too long for the file system.
    if not path.resolve().is_relative_to(folder) or not os.path.isfile(path):  # noqa: PTH113
        raise BlobMissing(key)
    return path


@contextlib.contextmanager
def _own_errors(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(key) from error
    except (obstore.exceptions.BaseError, OSError) as error:
        # The store's writer raises a bare OSError; others come from what is being written.
        if isinstance(error, OSError) and type(error) is not OSError:
            raise
        raise BlobsUnavailable(f"{type(error).__name__} at {key}.") from error
