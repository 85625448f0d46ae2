"""The history keeps what happened, whatever ended it."""

import asyncio
from pathlib import Path

import pytest

from millrace.chaos.history import History, read


def test_operations_and_notes_come_back_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    with history.operation("writer", "put", "acme", "pin", version=1) as put:
        with history.operation("reader", "get", "acme", "pin") as get:
            get.refused(error="invalid-position")
        history.note("fault", kind="kill")
        put.ok(revision=7)
    history.close()
    lines = list(read(history.path))
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [line.get("kind") for line in lines] == ["get", "kill", "put"]
    assert [lines[0]["outcome"], lines[2]["outcome"]] == ["refused", "ok"]
    assert lines[2]["arguments"] == {"version": 1}
    assert lines[2]["response"] == {"revision": 7}
    assert lines[2]["start"] <= lines[0]["start"] <= lines[0]["end"] <= lines[1]["at"] <= lines[2]["end"]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_of_an_operation_that_ends_in_an_exception_nothing_is_known(tmp_path: Path, error: type[BaseException]) -> None:
    history = History(tmp_path / "history.jsonl")
    with pytest.raises(error), history.operation("writer", "put", "acme", "pin"):
        raise error
    [line] = read(history.path)
    assert line["outcome"] == "unknown"


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.note("round", number=1)
    history.close()
    with history.path.open("ab") as file:
        file.write(b'{"index": 1, "no')
    assert [line["index"] for line in read(history.path)] == [0]
