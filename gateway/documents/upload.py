"""Reads a multipart upload as it arrives: the file goes straight to the object store, never wholly through memory."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header
from pydantic import ValidationError

from db.blobs import Blobs
from engine.errors import UnsupportedMediaType
from engine.parse import SUPPORTED_MEDIA_TYPES, media_type_of
from gateway.problems import BodyTooLarge, InvalidRequest
from schemas.errors import MillraceError
from schemas.events import BlobContent, DocumentAttributes, DocumentId

FORM_BYTES_MAX = 65_536
"""Everything beside the file: names, tags and metadata."""
PARTS_MAX = 100
HEADER_BYTES_MAX = 4_096
"""One header line of a part: room for a file's name, however it is escaped."""
SUPPORTED = ", ".join(sorted(SUPPORTED_MEDIA_TYPES))
UNSPECIFIC_MEDIA_TYPES = {"", "application/octet-stream", "binary/octet-stream"}
"""What clients send when they do not know; then the name's ending tells."""

Events = AsyncIterator[MultipartSegment | bytes | None]


class EmptyFile(MillraceError):
    """The file is empty."""

    type = "empty-file"


class UploadForm(DocumentAttributes):
    """The form beside the file."""

    document_id: DocumentId


class Upload:
    """One multipart request on its way into the object store."""

    def __init__(self, blobs: Blobs, tenant_id: str, bytes_max: int) -> None:
        self._blobs = blobs
        self._key = f"{tenant_id}/originals/{uuid.uuid4().hex}"
        self._bytes_max = bytes_max
        self._form: dict[str, Any] = {}
        self._form_bytes = 0
        self._size_bytes: int | None = None

    async def receive(self, request: Request) -> tuple[UploadForm, BlobContent]:
        """Store the file and read the form beside it.

        Raises `InvalidRequest`, `BodyTooLarge`, `EmptyFile` or `UnsupportedMediaType`; then nothing stays stored.
        """
        try:
            await self._read(request)
            if self._size_bytes is None:
                raise InvalidRequest("There is no part named 'file'.")
            if self._size_bytes == 0:
                raise EmptyFile(self._form["filename"])
            form = UploadForm.model_validate({"document_id": uuid.uuid4().hex} | self._form)
            if form.media_type not in SUPPORTED_MEDIA_TYPES:
                raise UnsupportedMediaType(f"{form.media_type}; those that can: {SUPPORTED}.")
        except ValidationError as error:
            await self.discard()
            first = error.errors(include_url=False, include_context=False)[0]
            raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
        except BaseException:
            await self.discard()
            raise
        return form, BlobContent(key=self._key, size_bytes=self._size_bytes)

    async def discard(self) -> None:
        """Remove what was stored."""
        await self._blobs.delete([self._key])

    async def _read(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != "multipart/form-data" or not options.get("boundary"):
            raise InvalidRequest("The body must be multipart/form-data or application/json.")
        try:
            with PushMultipartParser(
                options["boundary"],
                max_header_size=HEADER_BYTES_MAX,
                max_segment_size=self._bytes_max,
                max_segment_count=PARTS_MAX,
                strict=True,
            ) as parser:
                events = _events(request, parser)
                async for segment in events:
                    if isinstance(segment, MultipartSegment):
                        await self._part(segment, events)
        except ParserLimitReached as error:
            raise BodyTooLarge(
                f"At most {self._bytes_max} bytes in a file, {PARTS_MAX} parts, and {HEADER_BYTES_MAX} bytes in a "
                "part's header line."
            ) from error
        except MultipartError as error:
            # Its first argument is the sentence; what comes behind it is the cause.
            raise InvalidRequest(f"The multipart body is broken: {error.args[0]}.") from error

    async def _part(self, segment: MultipartSegment, events: Events) -> None:
        if segment.name == "file":
            if self._size_bytes is not None:
                raise InvalidRequest("There is more than one part named 'file'; send one request each.")
            # Assigned only here: what the form says of its own takes precedence, whichever comes first.
            declared = parse_options_header(segment.content_type or "")[0].lower()
            filename = segment.filename or ""
            guessed = media_type_of(filename) if declared in UNSPECIFIC_MEDIA_TYPES else declared
            self._form = {"filename": filename, "media_type": guessed or "application/octet-stream"} | self._form
            self._size_bytes = await self._blobs.write(self._key, _body(events))
            return
        value = b"".join([part async for part in self._limited(_body(events))])
        try:
            self._set(segment.name, value.decode())
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{segment.name}: it is not UTF-8.") from error
        except ValueError as error:
            raise InvalidRequest(f"{segment.name}: {error}.") from error

    def _set(self, name: str, value: str) -> None:
        match name:
            case "tags":
                self._form.setdefault("tags", []).extend(tag.strip() for tag in value.split(",") if tag.strip())
            case "metadata":
                self._form["metadata"] = orjson.loads(value)
            case "document_id" | "title" | "collection" | "media_type" | "filename":
                self._form[name] = value
            case _:
                raise InvalidRequest(f"There is no field {name!r}.")

    async def _limited(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in body:
            self._form_bytes += len(part)
            if self._form_bytes > FORM_BYTES_MAX:
                raise BodyTooLarge(f"At most {FORM_BYTES_MAX} bytes beside the file.")
            yield part


async def _events(request: Request, parser: PushMultipartParser) -> AsyncIterator[MultipartSegment | bytes | None]:
    async for data in request.stream():
        if data:
            for event in parser.parse(data):
                yield event


async def _body(events: Events) -> AsyncIterator[bytes]:
    async for event in events:
        if event is None:
            return
        assert not isinstance(event, MultipartSegment)
        yield bytes(event)
