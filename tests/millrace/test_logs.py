"""Logs: JSON lines that say which trace, tenant and document they are about, and nothing secret."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.conditions import eventually
from tests.conftest import Process

TRACE = "c0ffee" + "0" * 25 + "1"
PROGRAM = """
import logging, structlog
from millrace import logs
logs.configure("info")
log = structlog.get_logger("room")
log.debug("never")
log.info("told", tenant_id="t", document_id="d", path=__import__("pathlib").Path("x"), broken=b"\\xff", newline="a\\nb")
logging.getLogger("library").warning("theirs %s", 1)
logging.getLogger("httpx").info("never")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("wrong")
"""


def lines(folder: Path, since: int = 0) -> list[dict[str, Any]]:
    """Every line of a process's log from a byte on; each has to be an object."""
    [path] = folder.glob("*.log")
    whole, _, _ = path.read_bytes()[since:].rpartition(b"\n")  # the last line may be half written
    found: list[dict[str, Any]] = [orjson.loads(line) for line in whole.splitlines()]
    assert all(isinstance(line, dict) for line in found)
    return found


async def test_a_document_is_followed_through_the_logs(
    http: httpx.AsyncClient, gateway: Process, worker: Process, tenant: str
) -> None:
    # Python itself writes to the worker's log when a test before this one has killed it.
    begin = {each.logs: next(each.logs.glob("*.log")).stat().st_size for each in (gateway, worker)}
    response = await http.post(
        "/v1/documents",
        json={"text": "A mill.", "document_id": "d"},
        headers={"traceparent": f"00-{TRACE}-{'a' * 16}-01"},
    )
    accepted = response.json()
    await http.get("/v1/documents/d", headers={"X-Millrace-Position": accepted["position"]})

    async def told(folder: Path, event: str) -> dict[str, Any] | None:
        found = [
            line
            for line in lines(folder, begin[folder])
            if line["event"] == event and (line.get("tenant_id"), line.get("trace_id")) == (tenant, TRACE)
        ]
        return found[0] if found else None

    request = await eventually(lambda: told(gateway.logs, "request"))
    assert request is not None
    assert {key: request[key] for key in ("method", "route", "status", "document_id", "level")} == {
        "method": "POST",
        "route": "/v1/documents",
        "status": 202,
        "document_id": "d",
        "level": "info",
    }
    assert request["ms"] > 0
    assert datetime.fromisoformat(request["timestamp"]).tzinfo is not None
    for state in ("embedding", "indexed"):
        line = await eventually(lambda state=state: told(worker.logs, state))  # type: ignore[misc]
        assert line is not None
        assert (line["document_id"], line["revision"]) == ("d", accepted["revision"])


async def test_no_request_keeps_the_ids_of_the_one_before(
    http: httpx.AsyncClient, gateway: Process, tenant: str
) -> None:
    await http.get("/v1/documents/before")
    await http.get(f"/nowhere?{tenant}", headers={"traceparent": f"00-{TRACE[::-1]}-{'a' * 16}-01"})

    async def told() -> list[dict[str, Any]]:
        return [line for line in lines(gateway.logs) if line.get("trace_id") == TRACE[::-1]]

    [line] = await eventually(told)
    assert (line["route"], line["status"]) == ("unmatched", 404)
    assert not {"tenant_id", "document_id"} & line.keys()


def test_every_line_is_an_object() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    assert ended.stdout == b""
    told = [orjson.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in told] == [
        ("told", "info", "room"),
        ("theirs 1", "warning", "library"),
        ("wrong", "error", "room"),
    ]
    assert told[0] | {"timestamp": 0} == {
        "event": "told",
        "level": "info",
        "logger": "room",
        "timestamp": 0,
        "tenant_id": "t",
        "document_id": "d",
        "path": "x",
        "broken": "b'\\xff'",
        "newline": "a\nb",
    }
    assert "ZeroDivisionError" in told[2]["exception"]
