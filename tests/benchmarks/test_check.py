"""The regression check: what is dearer than the baseline allows is named."""

from benchmarks.check import Cost, regressions

BASELINE = {"statements": Cost(10, 0.1), "records": Cost(7, 0.1)}


def test_what_is_within_the_tolerance_or_cheaper_is_no_regression() -> None:
    assert regressions({"statements": Cost(10.9, 0.1), "records": Cost(1, 0.1)}, BASELINE) == []


def test_what_is_beyond_it_is_named_with_both_figures() -> None:
    [line] = regressions({"statements": Cost(11.2, 0.1), "records": Cost(7, 0.1)}, BASELINE)
    assert line == "statements: 11.20, where at most 11.00 is allowed"


def test_a_cost_that_was_never_compared_is_a_regression() -> None:
    assert regressions({"statements": Cost(1, 0.1), "other": Cost(1, 0.1)}, BASELINE) == [
        "other is not in both",
        "records is not in both",
    ]
