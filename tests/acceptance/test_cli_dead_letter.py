"""The commands for documents that went wrong, against a running Millrace."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.fixture
def environment_of_tenant(http: httpx.AsyncClient, tenant: str) -> dict[str, str]:
    return os.environ | {"MILLRACE_TENANT": tenant, "COLUMNS": "200"}


async def test_why_retry_and_dead_letters(environment_of_tenant: dict[str, str], tmp_path: Path) -> None:
    def millrace(*arguments: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "millrace", *map(str, arguments)],
            env=environment_of_tenant,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(b"%PDF-1.7\nnothing follows")
    millrace("ingest", tmp_path, code=1)
    listed = [line.split("│")[1:3] for line in millrace("dead-letter", "list").splitlines() if "documents." in line]
    assert [state.strip() for _, state in listed] == ["open", "open"]
    newest = listed[0][0].strip()

    shown = millrace("dead-letter", "show", newest)
    assert "header ce_type: millrace.document.submitted" in shown
    document = next(line for line in shown.splitlines() if line.startswith("document: ")).split()[1]
    told = millrace("why", document)
    assert f"{document}: failed" in told
    assert newest in told

    assert "dead-letter-not-found" not in millrace("dead-letter", "replay", code=2)
    assert "1 replayed" in millrace("dead-letter", "replay", newest)
    assert "It is replayed." in millrace("dead-letter", "replay", newest, code=1)
    assert f"{document}: failed" in millrace("retry", document)
    assert "Nothing of the document is unfinished." in millrace("cancel", document, code=1)
    assert f"{document}: failed" in millrace("reprocess", document)
    assert "discarded" in millrace("dead-letter", "discard", "--all")
    assert "documents." not in millrace("dead-letter", "list")
    assert "discarded" in millrace("dead-letter", "list", "--state", "discarded")
    assert "nothing that could be tried again" in millrace("retry", document, code=1)
    assert f"{document}: deleted" in millrace("delete", document)
    assert "There is no such document." in millrace("retry", document, code=1)
