"""The command line against a running Millrace."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from millrace.local.ports import free_port

FILES = Path(__file__).parents[2] / "samples" / "files"


@pytest.fixture
def millrace(http: httpx.AsyncClient, tenant: str) -> "Command":
    """Runs `millrace` as the test's tenant."""
    return Command(tenant)


class Command:
    """`millrace`, in a process of its own."""

    def __init__(self, tenant: str) -> None:
        self._environment = os.environ | {"MILLRACE_TENANT": tenant, "COLUMNS": "200"}

    def __call__(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "millrace", *map(str, arguments)],
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_ingest_search_ask_and_status(millrace: Command, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "warranty.txt").write_bytes((FILES / "warranty-terms.txt").read_bytes())
    (tmp_path / "skipped.bin").write_bytes(b"\x00")
    ingested = millrace("ingest", tmp_path, str(FILES / "shift-*.txt"), "--collection", "cli")
    assert ingested.returncode == 0, ingested.stdout + ingested.stderr
    assert ingested.stdout.count("indexed") == 2
    again = millrace("ingest", tmp_path, "--collection", "cli")
    assert again.returncode == 0, again.stdout + again.stderr

    assert "warranty.txt" in millrace("search", "tamper seals", "--collection", "cli").stdout
    asked = millrace("ask", "What colour are the tamper seals on the control unit?")
    assert asked.returncode == 0, asked.stderr
    assert "[1]" in asked.stdout
    listed = millrace("status").stdout
    assert listed.count("indexed") == 2
    assert "ready: True" in listed


def test_what_fails_is_told_in_one_line(millrace: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing follows")
    refused = millrace("ingest", tmp_path / "broken.pdf")
    assert refused.returncode == 1
    assert "failed:" in refused.stdout

    nobody = millrace("search", "anything", MILLRACE_URL=f"http://127.0.0.1:{free_port()}")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("error: The gateway cannot be reached.")
    assert "Traceback" not in nobody.stderr

    assert millrace("worker", "nonsense").returncode == 2


def test_topics_are_as_declared(millrace: Command) -> None:
    checked = millrace("topics", "--check")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("as declared") == 7
