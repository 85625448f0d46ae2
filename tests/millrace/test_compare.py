"""How alike two answers are."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.compare import Course, overlap, rank_biased_overlap

rankings = st.lists(st.sampled_from("abcdefghijklmno"), unique=True, max_size=10)


@given(rankings, rankings)
def test_between_nothing_in_common_and_the_same(one: list[str], other: list[str]) -> None:
    for measure in (overlap, rank_biased_overlap):
        value = measure(one, other)
        assert -1e-9 <= value <= 1 + 1e-9
        assert abs(value - measure(other, one)) < 1e-9
        if not set(one) & set(other) and (one or other):
            assert value == 0
    assert (abs(rank_biased_overlap(one, other) - 1) < 1e-9) == (one == other)
    assert (overlap(one, other) == 1) == (set(one) == set(other))


def test_the_first_ranks_weigh_most() -> None:
    assert rank_biased_overlap("abcd", "bacd") < rank_biased_overlap("abcd", "abdc") < 1


def test_percentiles() -> None:
    course = Course([], [float(number) for number in range(1, 101)])
    assert (round(course.percentile_ms(50)), round(course.percentile_ms(95))) == (50, 95)
    assert Course([], [7.0]).percentile_ms(95) == 7.0
    assert Course([], []).percentile_ms(95) == 0.0
