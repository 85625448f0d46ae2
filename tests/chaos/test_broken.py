"""The checker can fail: each promise, broken on purpose, is found broken. Minutes each: only ``pytest -m chaos``."""

import sys
from pathlib import Path

import pytest

from millrace.chaos import run as module
from millrace.chaos.plan import Fault, Round
from millrace.chaos.run import Run
from millrace.local.home import Home

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = [Fault("kill", f"{stage}-{number}", 8.0, 1.0) for stage in ("parse", "index") for number in (1, 2)]


async def broken(folder: Path, defect: str, *faults: Fault) -> Run:
    """A round with a defect and these faults, over."""
    command = [sys.executable, "-m", "tests.chaos.defective", defect]
    run = Run(1, 0, folder, libs=Home.default().kafka_libs, say=print, millrace=command)
    run._plan = [Round(1, faults or (Fault("join-and-leave", "index", 5.0, 10.0),))]
    await run.run()
    return run


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come to rest is seen soon."""
    monkeypatch.setattr(module, "REST_DEADLINE_S", 30)


@pytest.mark.parametrize(
    ("defect", "kinds"),
    [
        ("no_fencing", {"resurrected", "stale", "mixed", "orphaned", "doubled"}),
        ("letters_of_the_living", {"both"}),
        ("rows_left_behind", {"orphaned"}),
        ("impatient_reads", {"stale"}),
        ("curious_search", {"foreign"}),
        ("search_over_all_revisions", {"mixed", "stale"}),
    ],
)
async def test_a_broken_promise_is_found_broken(tmp_path: Path, defect: str, kinds: set[str]) -> None:
    run = await broken(tmp_path, defect)
    assert kinds & set(run.summary.report.counts)


async def test_what_is_acknowledged_before_it_is_done_is_missed(tmp_path: Path) -> None:
    run = await broken(tmp_path, "acknowledging_first", *KILLS)
    assert {"stuck", "lost"} & set(run.summary.report.counts)


async def test_late_writes_alone_do_no_harm(tmp_path: Path) -> None:
    run = await broken(tmp_path, "late_writes")
    assert not run.summary.report.violations
