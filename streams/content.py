"""What the parse stage keeps in the object store: noted before it is written, and looked up again behind that."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from db import blob_uses
from db.blobs import Blobs
from db.pool import Pool
from schemas.errors import MillraceError
from schemas.events import BlobContent, DocumentSubmitted
from streams.together import Together

COMPARED_AT_ONCE_BYTES_MAX = 65_536
"""To hand it to a thread takes longer."""


class OtherContent(MillraceError):
    """The content is not what was submitted."""

    type = "other-content"


class Kept(NamedTuple):
    """What is to be written to the object store."""

    tenant_id: str
    key: str
    data: bytes


class Contents:
    """Originals and extracted texts. All methods raise `BlobsUnavailable`."""

    def __init__(self, pool: Pool, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pool = pool
        self._together = Together[Kept, bool](self._write)
        self._writing: set[asyncio.Task[bool]] = set()

    async def keep(self, tenant_id: str, key: str, data: bytes) -> bool:
        """Write a blob whose use has begun, and leave it if it is needed then; else false.

        A worker that lost its partition is cut short here or anywhere, but not between writing and looking.
        """
        writing = asyncio.create_task(self._together(Kept(tenant_id, key, data)))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    @asynccontextmanager
    async def file(self, content: BlobContent) -> AsyncIterator[Path]:
        """A file with the content, while the context lasts. Raises `BlobMissing` and `OtherContent`."""
        async with self._blobs.as_file(content.key) as path:
            if content.size_bytes <= COMPARED_AT_ONCE_BYTES_MAX:
                _compare(path, content)
            else:
                await asyncio.to_thread(_compare, path, content)
            yield path

    async def _write(self, kept: Sequence[Kept]) -> list[bool]:
        puts = await asyncio.gather(*(self._blobs.put(each.key, each.data) for each in kept), return_exceptions=True)
        # Not before all have ended: none may land behind the look of the next try.
        for error in filter(None, puts):
            raise error
        are_needed = await blob_uses.needed(self._pool, [(each.tenant_id, each.key) for each in kept])
        # Whoever deleted the others did so before they were there: this worker was away for long.
        await self._blobs.delete([each.key for each, is_needed in zip(kept, are_needed, strict=True) if not is_needed])
        return are_needed


def new_text_key(tenant_id: str, document_id: str, revision: int) -> str:
    """Where a run keeps the text that it extracts; no other run has the same key."""
    return f"{tenant_id}/texts/{document_id}/{revision}-{uuid.uuid4().hex[:12]}"


def content_of(event: DocumentSubmitted, revision: int) -> tuple[BlobContent, bytes | None]:
    """Where in the object store a submission's content is, and what has to be written there first, if anything."""
    match event.content:
        case BlobContent() as content:
            return content, None
        case text:
            inline = text.text.encode()
            key = f"{event.tenant_id}/originals/{event.document_id}/{revision}"
            return BlobContent(key=key, size_bytes=len(inline)), inline


def _compare(path: Path, content: BlobContent) -> None:
    """Hold a file against what its submission says of it. Raises `OtherContent`."""
    if (size_bytes := path.stat().st_size) != content.size_bytes:
        raise OtherContent(f"{size_bytes} bytes, where {content.size_bytes} were submitted.")
    if content.sha256 is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != content.sha256:
                raise OtherContent("Its SHA-256 is another one.")
