import json
from pathlib import Path

import pytest

from millrace.chaos.history import History
from millrace.chaos.summary import Summary
from millrace.chaos.violations import Report, Violation


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """Of a run in which a read did not see a write across a fault."""
    summary = Summary(7, tmp_path, rounds=3, duration_s=61.04)
    history = History(summary.history)
    for client, kind in (("writer", "edit"), ("reader", "read")):
        history.note("fault", fault="kill", target="index-1")
        with history.operation(client, kind, "t1", "d1") as operation:
            operation.ok()
        with history.operation("somebody", "search", "t2") as operation:
            operation.ok()
    history.close()
    summary.report = Report(acknowledged=1, reads=3)
    summary.report.add("stale", "The read does not show the write.", 1, 4)
    return summary


def test_an_excerpt_has_what_the_violation_is_about_and_the_faults_between(summary: Summary) -> None:
    (violation,) = summary.report.violations
    assert [line["index"] for line in summary.excerpt(violation)] == [1, 3, 4]


def test_an_excerpt_of_nothing_is_empty(summary: Summary) -> None:
    assert summary.excerpt(Violation("stuck", "nobody knows", ())) == []


def test_the_figures_are_written_with_the_command_that_repeats_them(summary: Summary, tmp_path: Path) -> None:
    summary.faults["kill"] = 2
    summary.write(tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["command"] == "millrace chaos --rounds 3 --seed 7"
    assert figures["faults"] == {"kill": 2}
    assert (figures["acknowledged"], figures["reads"], figures["counts"]) == (1, 3, {"stale": 1})
