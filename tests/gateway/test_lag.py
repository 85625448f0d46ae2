"""How far a stage is behind, told from what was seen of its offsets."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.lag import RATE_OVER_S, StageCourse


def test_age_is_that_of_the_oldest_record_that_is_not_committed() -> None:
    course = StageCourse()
    assert course.saw(0, {0: 0}, {0: 0}).age_s == 0
    assert course.saw(10, {0: 5}, {0: 0}).age_s == 10  # written at some time since the last look
    assert course.saw(20, {0: 9}, {0: 0}).age_s == 20
    assert course.saw(30, {0: 9}, {0: 5}).age_s == 20  # the rest came after the look at 10
    assert course.saw(40, {0: 9}, {0: 9}).age_s == 0
    assert course.saw(50, {0: 9}, {0: 9}).age_s == 0
    assert course.saw(60, {0: 10}, {0: 9}).age_s == 10


def test_the_slowest_partition_counts() -> None:
    course = StageCourse()
    course.saw(0, {0: 0, 1: 0}, {0: 0, 1: 0})
    course.saw(10, {0: 100, 1: 1}, {0: 100, 1: 0})
    lag = course.saw(20, {0: 200, 1: 1}, {0: 200, 1: 0})
    assert (lag.records, lag.age_s, lag.per_s) == (1, 20, 10)


def test_the_rate_is_a_recent_one() -> None:
    course = StageCourse()
    assert course.saw(0, {0: 1_000}, {0: 0}).per_s == 0
    assert course.saw(10, {0: 1_000}, {0: 500}).per_s == 50
    assert course.saw(10 + 2 * RATE_OVER_S, {0: 1_000}, {0: 500}).per_s == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), max_size=60))
def test_age_and_lag_of_any_course(steps: list[tuple[int, int, int]]) -> None:
    """Against the definition: every record's time of writing lies between two looks."""
    course, at_s, end, committed = StageCourse(), 0, 0, 0
    seen_before: list[int] = []  # for each record, the time of the last look before it was there
    last_look_s = 0
    for pause_s, written, done in [(0, 0, 0), *steps]:
        at_s += pause_s
        end += written
        seen_before += [last_look_s] * written
        committed = min(end, committed + done)
        lag = course.saw(at_s, {0: end}, {0: committed})
        last_look_s = at_s
        assert lag.records == end - committed
        assert lag.age_s == (at_s - seen_before[committed] if committed < end else 0)
