"""The clients on a real gateway, worker and broker: without faults nothing is wrong, and much is checked."""

from collections import Counter
from pathlib import Path
from typing import Any

from millrace.chaos.checker import check
from millrace.chaos.history import History, read
from millrace.chaos.workload import Workload
from tests.chaos.model import Json
from tests.conditions import eventually
from tests.conftest import Broker, Process

SETTLE_DEADLINE_S = 60
ACKNOWLEDGED_MIN = 40


async def test_the_load_settles_and_breaks_no_promise(
    gateway: Process, worker: Process, kafka: Broker, environment: dict[str, str], tmp_path: Path
) -> None:
    history = History(tmp_path / "history.jsonl")
    url = environment["MILLRACE_URL"]
    workload = Workload([url, url], kafka.bootstrap_servers, history, seed=1)

    async def enough() -> bool:
        return acknowledged(history.path) >= ACKNOWLEDGED_MIN

    async def gone_on() -> bool:
        return acknowledged(history.path) > sum(map(is_acknowledged, lines))

    async with workload.running():
        await eventually(enough, deadline_s=SETTLE_DEADLINE_S)
        await workload.pause()
        stuck = await workload.settle(SETTLE_DEADLINE_S)
        await workload.observe(environment["DATABASE_URL"], environment["MILLRACE_BLOBS_URL"])
        lines = list(read(history.path))
        workload.resume()
        await eventually(gone_on, deadline_s=SETTLE_DEADLINE_S)
    report = check(history.path)
    assert stuck == []
    assert report.violations == []
    assert report.acknowledged >= ACKNOWLEDGED_MIN
    kinds = Counter(line["kind"] for line in lines if line.get("outcome") == "ok")
    assert kinds.keys() >= {"put", "kafka_put", "status", "get", "content", "chunks", "search", "list", "observe"}
    observed = next(line["response"] for line in lines if line.get("kind") == "observe")
    assert told_of(observed["rows"]) <= told_of(observed["submissions"])
    assert observed["blobs"]


def acknowledged(path: Path) -> int:
    return sum(map(is_acknowledged, read(path)))


def is_acknowledged(line: Json) -> bool:
    return line.get("outcome") == "ok" and line.get("kind") in {"put", "edit", "kafka_put", "delete"}


def told_of(lines: list[Json]) -> set[tuple[Any, ...]]:
    return {(line["tenant"], line["document_id"], line["revision"]) for line in lines}
