"""Multipart uploads: streamed into the store, refused in words, and then nothing stays."""

import os
import socket
from pathlib import Path

import httpx
import pytest

from tests.conditions import eventually
from tests.gateway.requests import after, problem_type

BOUNDARY = "cut-here"


def part(name: str, content: bytes, **more: str) -> bytes:
    """One part of a body by hand."""
    disposition = "; ".join([f'form-data; name="{name}"', *(f'{key}="{value}"' for key, value in more.items())])
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part("file", b"A mill.", filename="a.txt")


def originals(tenant: str) -> list[Path]:
    """What the store holds of a tenant, begun uploads included."""
    return [path for path in Path(os.environ["MILLRACE_BLOBS_URL"], tenant).rglob("*") if path.is_file()]


async def upload(http: httpx.AsyncClient, body: bytes, boundary: str = BOUNDARY) -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return await http.post("/v1/documents", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (END, 422, "invalid-request"),
        (b"", 422, "invalid-request"),
        (FILE, 422, "invalid-request"),
        (FILE[:-9], 422, "invalid-request"),
        (b"no multipart at all", 422, "invalid-request"),
        (part("title", b"x") + END, 422, "invalid-request"),
        (FILE + FILE + END, 422, "invalid-request"),
        (FILE + part("colour", b"red") + END, 422, "invalid-request"),
        (FILE + part("metadata", b"{") + END, 422, "invalid-request"),
        (FILE + part("metadata", b"[1]") + END, 422, "invalid-request"),
        (FILE + part("metadata", b'{"a": "\\u0000"}') + END, 422, "invalid-request"),
        (FILE + part("document_id", b"../../x") + END, 422, "invalid-request"),
        (FILE + part("title", b"\xff") + END, 422, "invalid-request"),
        (FILE + part("title", b"x" * 501) + END, 422, "invalid-request"),
        (FILE + part("tags", b"x," * 65) + END, 422, "invalid-request"),
        (FILE + part("metadata", b" " * 65_537) + END, 413, "body-too-large"),
        (FILE + part("tags", b"x") * 101 + END, 413, "body-too-large"),
        (part("file", b"", filename="a.txt") + END, 422, "empty-file"),
        (part("file", b"MZ", filename="a.exe") + END, 415, "unsupported-media-type"),
        (part("file", b"A mill.") + END, 415, "unsupported-media-type"),
        (FILE + part("media_type", b"video/mp4") + END, 415, "unsupported-media-type"),
        (FILE + part("media_type", b"text/plain\r\nX-Evil: 1") + END, 422, "invalid-request"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    http: httpx.AsyncClient, tenant: str, body: bytes, status: int, slug: str
) -> None:
    response = await upload(http, body)
    assert (response.status_code, problem_type(response)) == (status, slug), response.text
    assert status != 415 or "application/pdf" in response.json()["detail"]
    assert originals(tenant) == []
    assert (await http.get("/v1/documents")).json()["documents"] == []


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/mixed; boundary=x", "multipart/form-data", ""])
async def test_a_body_of_another_kind(http: httpx.AsyncClient, content_type: str) -> None:
    response = await http.post("/v1/documents", content=FILE + END, headers={"content-type": content_type})
    assert (response.status_code, problem_type(response)) == (422, "invalid-request")


async def test_the_form_counts_wherever_it_stands(http: httpx.AsyncClient) -> None:
    form = (
        part("document_id", b"d")
        + part("tags", b"wet, old ,")
        + part("tags", b"new")
        + part("metadata", '{"größe": [1, null]}'.encode())
        + part("filename", "mühle.md".encode())
    )
    for body in (form + FILE + END, FILE + form + END):
        accepted = (await upload(http, body)).json()
        document = (await http.get("/v1/documents/d", headers=after(accepted))).json()
        assert document["status"]["state"] == "indexed"
        assert document["revision"] == accepted["revision"]
        assert document["tags"] == ["wet", "old", "new"]
        assert document["metadata"] == {"größe": [1, None]}
        assert document["filename"] == "mühle.md"
        assert document["media_type"] == "text/plain"


async def test_a_client_that_leaves_leaves_nothing(http: httpx.AsyncClient, tenant: str) -> None:
    url = http.base_url
    head = (
        f"POST /v1/documents HTTP/1.1\r\nHost: x\r\nX-Millrace-Tenant: {tenant}\r\nContent-Length: 50000000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )

    async def storing() -> bool:
        return bool(originals(tenant))

    begun = part("file", b"x" * 12_000_000, filename="a.txt").removesuffix(b"\r\n")
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(head.encode() + begun)
        await eventually(storing)

    async def cleared() -> bool:
        return not originals(tenant)

    await eventually(cleared)
    assert (await http.get("/v1/documents")).json()["documents"] == []


async def test_a_replaced_document_leaves_one_original_and_one_text(http: httpx.AsyncClient, tenant: str) -> None:
    for number in range(3):
        body = part("document_id", b"d") + part("file", f"Mill {number}.".encode(), filename="a.txt") + END
        accepted = (await upload(http, body)).json()
        await http.get("/v1/documents/d", headers=after(accepted))

    async def cleared() -> bool:
        return len(originals(tenant)) == 2

    await eventually(cleared)
    deleted = (await http.delete("/v1/documents/d")).json()
    await http.get("/v1/documents", headers=after(deleted))

    async def gone() -> bool:
        return not originals(tenant)

    await eventually(gone)
