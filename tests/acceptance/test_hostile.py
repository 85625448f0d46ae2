"""Files and requests that nobody vouches for: each gets its clear error, and none blocks what comes after."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.errors import (
    DamagedDocument,
    EmptyDocument,
    EncryptedDocument,
    InvalidText,
    MediaTypeMismatch,
    UnreadableDocument,
    UnsafeDocument,
)
from engine.markup import DOCX, HTML
from millrace.client import Gateway
from millrace.local.ports import free_port
from samples import hostile
from tests.conditions import eventually
from tests.conftest import Process

INTERNAL = re.compile(
    r"/(work|tmp|home|usr|root|var)/|site-packages|Traceback|\.py\b|\w+(Error|Exception)\b|\b0x[0-9a-f]+"
    r"|codec|\b(asyncpg|aiokafka|pydantic|pebble|pdfium2|kreuzberg|obstore)\b"
)
"""Paths, code, classes and addresses: what no user can use, and an attacker can."""
BOUNDARY = "a-boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SMALL_UPLOAD_BYTES_MAX = 1_000_000


UNREADABLE: dict[str, tuple[Callable[[], bytes], str, type[UnreadableDocument]]] = {
    "blank.txt": (hostile.blank_text, "text/plain", EmptyDocument),
    "truncated.pdf": (hostile.truncated_pdf, "application/pdf", DamagedDocument),
    "encrypted.pdf": (hostile.encrypted_pdf, "application/pdf", EncryptedDocument),
    "scan.pdf": (hostile.pdf_without_text, "application/pdf", EmptyDocument),
    "pdf.docx": (hostile.pdf_named_docx, DOCX, MediaTypeMismatch),
    "png.pdf": (hostile.png_named_pdf, "application/pdf", MediaTypeMismatch),
    "program.txt": (hostile.binary_named_text, "text/plain", MediaTypeMismatch),
    "corrupt.docx": (hostile.corrupt_docx, DOCX, DamagedDocument),
    "archive.docx": (hostile.zip_named_docx, DOCX, MediaTypeMismatch),
    "poisoned.txt": (hostile.poisoned_utf8, "text/plain", InvalidText),
    "latin-1.txt": (hostile.latin1_text, "text/plain", InvalidText),
    "bomb.docx": (hostile.docx_bomb, DOCX, UnsafeDocument),
    "laughs.docx": (hostile.docx_laughs, DOCX, UnsafeDocument),
}
"""Each file: its bytes, the media type it is sent as, and why it fails."""

READABLE: dict[str, tuple[bytes, str]] = {
    "long-title.md": (b"# " + b"The locking pin " * 500 + b"\n\nIs yellow.\n", "text/markdown"),
    "long-title.html": (b"<title>" + b"The locking pin " * 100 + b"</title><p>Is yellow.</p>", HTML),
    "deep.html": (b"<div>" * 50 + b"The locking pin is yellow.", HTML),
    "deep.md": (b">" * 20_000 + b" The locking pin is yellow.", "text/markdown"),
    "brackets.md": (b"[" * 50_000 + b" The locking pin is yellow.", "text/markdown"),
    "one-word.txt": (b"x" * 300_000, "text/plain"),
}
"""Files that are only odd: they are indexed."""


def assert_clear(message: str) -> None:
    """A sentence for people, with nothing of the inside in it."""
    assert re.match(r"[A-Z].* .*\.", message, re.DOTALL), message
    assert not INTERNAL.search(message), message


def assert_refused(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The response is a problem of this kind, with nothing of the inside in it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:millrace:problem:{kind}"
    assert problem["status"] == status
    assert_clear(problem["title"])
    assert not INTERNAL.search(response.text), response.text
    return problem


async def last_status(client: Gateway, document_id: str) -> dict[str, Any]:
    return [status async for status in client.follow(document_id)][-1]


async def assert_good_document_passes(client: Gateway, document_id: str = "good") -> None:
    """What comes next under the same id, and so in the same partition, is indexed."""
    accepted = await client.add_text(hostile.SENTENCE, document_id=document_id)
    status = await last_status(client, document_id)
    assert (status["state"], status["revision"]) == ("indexed", accepted["revision"])


@pytest.fixture
def stored(environment: dict[str, str], tenant: str) -> Callable[[], list[Path]]:
    """What the object store holds of the tenant, unfinished files included."""
    folder = Path(environment["MILLRACE_BLOBS_URL"]) / tenant

    def files() -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file()]

    return files


async def upload(client: Gateway, folder: Path, name: str, content: bytes, media_type: str) -> dict[str, Any]:
    (folder / name).write_bytes(content)
    return await client.add_file(folder / name, media_type, document_id=name)


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_file_fails_with_its_reason(client: Gateway, tmp_path: Path, name: str) -> None:
    make, media_type, error = UNREADABLE[name]
    await upload(client, tmp_path, name, make(), media_type)
    status = await last_status(client, name)
    assert status["state"] == "failed"
    assert status["error"]["type"] == error.type
    assert status["error"]["message"].startswith(error.title())
    assert_clear(status["error"]["message"])
    await assert_good_document_passes(client, name)


@pytest.mark.parametrize("name", READABLE)
async def test_an_odd_file_is_indexed(client: Gateway, tmp_path: Path, name: str) -> None:
    await upload(client, tmp_path, name, *READABLE[name])
    status = await last_status(client, name)
    assert status["state"] == "indexed", status


async def test_good_documents_pass_between_hostile_ones(client: Gateway, tmp_path: Path) -> None:
    """All at once: every partition has hostile files before good ones, and nobody waits for anything."""
    for name, (make, media_type, _) in UNREADABLE.items():
        await upload(client, tmp_path, name, make(), media_type)
        await client.add_text(hostile.SENTENCE, document_id=f"after-{name}")
    statuses = await asyncio.gather(*(last_status(client, f"after-{name}") for name in UNREADABLE))
    assert {status["state"] for status in statuses} == {"indexed"}
    statuses = await asyncio.gather(*(last_status(client, name) for name in UNREADABLE))
    assert {status["state"] for status in statuses} == {"failed"}


def part(name: str, value: bytes, *, filename: str | None = None, media_type: str | None = None) -> bytes:
    """One part of a multipart body, with the boundary before it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {media_type}" if media_type else ""
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


FILE = part("file", b"A text.", filename="a.txt", media_type="text/plain")
END = f"--{BOUNDARY}--\r\n".encode()

REFUSED_UPLOADS: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty file": (
        part("file", b"", filename="a.txt", media_type="text/plain") + END,
        MULTIPART,
        422,
        "empty-file",
    ),
    "picture": (
        part("file", b"\x89PNG\r\n\x1a\n", filename="a.png", media_type="image/png") + END,
        MULTIPART,
        415,
        "unsupported-media-type",
    ),
    "unknown ending": (part("file", b"MZ", filename="a.exe") + END, MULTIPART, 415, "unsupported-media-type"),
    "no name": (part("file", b"A text.") + END, MULTIPART, 415, "unsupported-media-type"),
    "nonsense media type": (
        part("file", b"A text.", filename="a.txt", media_type="text plain") + END,
        MULTIPART,
        422,
        "invalid-request",
    ),
    "cut off in the file": (FILE[:-3], MULTIPART, 422, "invalid-request"),
    "cut off in the head": (FILE[:40], MULTIPART, 422, "invalid-request"),
    "cut off before the end": (FILE, MULTIPART, 422, "invalid-request"),
    "nothing at all": (b"", MULTIPART, 422, "invalid-request"),
    "only the end": (END, MULTIPART, 422, "invalid-request"),
    "no multipart inside": (b"just bytes", MULTIPART, 422, "invalid-request"),
    "no boundary": (FILE + END, {"Content-Type": "multipart/form-data"}, 422, "invalid-request"),
    "other boundary": (FILE + END, {"Content-Type": "multipart/form-data; boundary=b"}, 422, "invalid-request"),
    "odd boundary": (FILE + END, {"Content-Type": 'multipart/form-data; boundary="ä"'}, 422, "invalid-request"),
    "endless boundary": (
        FILE + END,
        {"Content-Type": f"multipart/form-data; boundary={'b' * 5_000}"},
        422,
        "invalid-request",
    ),
    "no content type": (FILE + END, {}, 422, "invalid-request"),
    "other content type": (FILE + END, {"Content-Type": "application/xml"}, 422, "invalid-request"),
    "no disposition": (f"--{BOUNDARY}\r\n\r\nA text.\r\n".encode() + END, MULTIPART, 422, "invalid-request"),
    "no file": (part("title", b"A title") + END, MULTIPART, 422, "invalid-request"),
    "two files": (FILE + FILE + END, MULTIPART, 422, "invalid-request"),
    "unknown field": (FILE + part("colour", b"red") + END, MULTIPART, 422, "invalid-request"),
    "huge field": (FILE + part("title", b"a" * 100_000) + END, MULTIPART, 413, "body-too-large"),
    "huge head": (part("x" * 100_000, b"") + FILE + END, MULTIPART, 413, "body-too-large"),
    "hundreds of parts": (part("tags", b"a") * 200 + FILE + END, MULTIPART, 413, "body-too-large"),
    "field not UTF-8": (FILE + part("title", b"\xff\xfe") + END, MULTIPART, 422, "invalid-request"),
    "file name not UTF-8": (FILE.replace(b"a.txt", b"\xff\xfe.txt") + END, MULTIPART, 422, "invalid-request"),
    "title with NUL": (FILE + part("title", b"a\0b") + END, MULTIPART, 422, "invalid-request"),
    "long title": (FILE + part("title", b"a" * 501) + END, MULTIPART, 422, "invalid-request"),
    "bad id": (FILE + part("document_id", b"../../etc") + END, MULTIPART, 422, "invalid-request"),
    "metadata no JSON": (FILE + part("metadata", b"{") + END, MULTIPART, 422, "invalid-request"),
    "metadata no object": (FILE + part("metadata", b"[]") + END, MULTIPART, 422, "invalid-request"),
    "metadata too deep": (
        FILE + part("metadata", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}") + END,
        MULTIPART,
        422,
        "invalid-request",
    ),
    "JSON broken": (b'{"text": "a', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON empty": (b"", {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON no object": (b"[1]", {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON not UTF-8": (b'{"text": "\xff"}', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON half a pair": (rb'{"text": "\ud800"}', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON too deep": (b'{"text":' + b"[" * 100_000, {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON no text": (b'{"title": "a"}', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON empty text": (b'{"text": ""}', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON wrong type": (b'{"text": {"a": 1}}', {"Content-Type": "application/json"}, 422, "invalid-request"),
    "JSON endless number": (
        b'{"text": "a", "metadata": {"n": ' + b"9" * 50 + b"}}",
        {"Content-Type": "application/json"},
        422,
        "invalid-request",
    ),
    "JSON bad id": (
        b'{"text": "a", "document_id": "a/b"}',
        {"Content-Type": "application/json"},
        422,
        "invalid-request",
    ),
    "JSON a PDF": (
        b'{"text": "a", "media_type": "application/pdf"}',
        {"Content-Type": "application/json"},
        422,
        "invalid-request",
    ),
    "JSON over the limit": (
        b'{"text": "' + b"a" * 5_000_000 + b'"}',
        {"Content-Type": "application/json"},
        413,
        "body-too-large",
    ),
}
"""Each request: its body, its headers, and what it is answered with."""


@pytest.mark.parametrize("name", REFUSED_UPLOADS)
async def test_a_bad_request_is_refused_and_leaves_nothing(
    http: httpx.AsyncClient, client: Gateway, stored: Callable[[], list[Path]], name: str
) -> None:
    body, headers, status, kind = REFUSED_UPLOADS[name]
    encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    response = await http.post("/v1/documents", content=body, headers=encoded)
    assert_refused(response, status, kind)
    assert not stored()
    assert not [document async for document in client.documents()]


async def test_a_header_that_is_no_http_is_refused_before_it_reaches_the_gateway(
    http: httpx.AsyncClient, stored: Callable[[], list[Path]]
) -> None:
    odd = [(b"Content-Type", b'multipart/form-data; boundary="\x01"')]
    response = await http.post("/v1/documents", content=FILE + END, headers=odd)
    assert response.status_code == 400
    assert not stored()


async def test_a_good_document_passes_after_all_refusals(client: Gateway) -> None:
    await assert_good_document_passes(client)


async def test_text_with_nul_fails_with_its_reason(client: Gateway) -> None:
    await client.add_text("Before \0 behind.", document_id="nul")
    status = await last_status(client, "nul")
    assert (status["state"], status["error"]["type"]) == ("failed", "invalid-text")
    assert_clear(status["error"]["message"])
    await assert_good_document_passes(client, "nul")


@dataclass(frozen=True, slots=True)
class Connection:
    """A bare connection to the gateway, which can be ended at the worst moment."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@pytest.fixture
async def connection(gateway: Process, worker: Process) -> AsyncIterator[Connection]:
    url = httpx.URL(gateway.ready_url)
    connection = Connection(*await asyncio.open_connection(url.host, url.port))
    yield connection
    connection.writer.close()


def request_head(tenant: str, body_bytes: int) -> bytes:
    lines = [
        "POST /v1/documents HTTP/1.1",
        "Host: millrace",
        f"X-Millrace-Tenant: {tenant}",
        f"Content-Type: {MULTIPART['Content-Type']}",
        f"Content-Length: {body_bytes}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize("sent_bytes", [100_000, 14_000_000], ids=["in the first part", "in a later part"])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    client: Gateway, connection: Connection, stored: Callable[[], list[Path]], tenant: str, sent_bytes: int
) -> None:
    await connection.send(request_head(tenant, 30_000_000) + FILE.removesuffix(b"\r\n"))
    await connection.send(b"a" * sent_bytes)
    if sent_bytes > 10_000_000:

        async def has_begun() -> bool:
            return bool(stored())

        await eventually(has_begun)
    connection.writer.transport.abort()

    async def is_clean() -> bool:
        return not stored()

    await eventually(is_clean)
    assert not [document async for document in client.documents()]
    await assert_good_document_passes(client)


@pytest.fixture(scope="module")
def small_gateway(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway that takes small files only."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_GATEWAY_UPLOAD_BYTES_MAX", str(SMALL_UPLOAD_BYTES_MAX))
        patch.setenv("MILLRACE_GATEWAY_PORT", str(port))
        process = Process("gateway", tmp_path_factory.mktemp("small"), f"http://127.0.0.1:{port}/readyz")
        process.start()
    yield process
    process.child.terminate(deadline_s=30)


@pytest.fixture
async def small_http(small_gateway: Process, worker: Process, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    base = small_gateway.ready_url.removesuffix("/readyz")
    async with httpx.AsyncClient(base_url=base, headers={"X-Millrace-Tenant": tenant}, timeout=60) as client:
        yield client


@pytest.mark.parametrize("size_bytes", [SMALL_UPLOAD_BYTES_MAX + 1, 40 * SMALL_UPLOAD_BYTES_MAX])
async def test_a_file_over_the_limit_is_refused_and_leaves_nothing(
    small_http: httpx.AsyncClient, stored: Callable[[], list[Path]], size_bytes: int
) -> None:
    response = await small_http.post("/v1/documents", files={"file": ("a.txt", b"a" * size_bytes, "text/plain")})
    problem = assert_refused(response, 413, "body-too-large")
    assert str(SMALL_UPLOAD_BYTES_MAX) in problem["detail"]
    assert not stored()


async def test_a_file_at_the_limit_is_indexed(small_http: httpx.AsyncClient, client: Gateway) -> None:
    line = b"The locking pin is painted yellow.\n"
    text = (line * (SMALL_UPLOAD_BYTES_MAX // len(line) + 1))[:SMALL_UPLOAD_BYTES_MAX]
    response = await small_http.post("/v1/documents", files={"file": ("a.txt", text, "text/plain")})
    assert response.status_code == httpx.codes.ACCEPTED
    status = await last_status(client, response.json()["document_id"])
    assert status["state"] == "indexed"
