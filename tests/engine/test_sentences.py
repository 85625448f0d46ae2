import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sentences import sentences, stems
from engine.wrap import SOFT_BREAK, soften


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there! Three?", ["One here.", "Two there!", "Three?"]),
        ("He said \u201cstop.\u201d Then it stood.", ["He said \u201cstop.\u201d", "Then it stood."]),
        ("Use 2.5 litres, e.g. Oil of Dr. Ha. Then go.", ["Use 2.5 litres, e.g. Oil of Dr. Ha.", "Then go."]),
        ("2.1 Use\nTurn it. Done.", ["2.1 Use", "Turn it.", "Done."]),
        ("3. Lift the stone. Put it down.", ["3. Lift the stone.", "Put it down."]),
        ("It ends... and goes on.", ["It ends... and goes on."]),
        (
            "\u6c34\u304c\u6d41\u308c\u308b\u3002\u8eca\u304c\u56de\u308b\u3002",
            ["\u6c34\u304c\u6d41\u308c\u308b\u3002", "\u8eca\u304c\u56de\u308b\u3002"],
        ),
        ("- one\n- two\n\n| a | b |", ["- one", "- two", "| a | b |"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_a_wrapped_sentence_is_one() -> None:
    text = "The maker warrants the mill against faults of material\nand workmanship for 36\nmonths. Then no more."
    assert split(text) == [text[: text.index(" Then")], "Then no more."]


@given(st.text(alphabet="aA .!?\n\u3002\u201d1", max_size=80))
def test_sentences_are_in_order_and_hold_all_that_is_not_blank(text: str) -> None:
    spans = list(sentences(text))
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert sum(end - start for start, end in spans) == len(covered)
    assert all(char.isspace() for place, char in enumerate(text) if place not in covered)


def test_forms_of_a_word_have_one_stem() -> None:
    assert stems("inspected") == stems("The inspection of") == stems("INSPECTS")
    assert stems("valves") == stems("valve")
    assert stems("What is the") == frozenset()


def test_prose_is_unwrapped_and_rows_and_lists_are_not() -> None:
    prose = "The wheel of the mill turns from early morning on\nuntil the miller closes the gate and goes to his\nBed."
    assert soften(prose) == prose.replace("\n", SOFT_BREAK)
    for rows in (
        "S-001,Halden Millworks,Sternbruck,spare parts for mills\nS-002,Brandvold Electric,Corrow,motors, sensors",
        "- first item of a list that is long enough to be wrapped\n- second item of the same list",
        "short\nlines\nof verse",
        "One paragraph that is long enough to be wrapped by hand.\n\nanother one",
    ):
        assert soften(rows) == rows


@given(st.text(alphabet="ab AB.,-|#\n ", max_size=300))
def test_unwrapping_moves_nothing(text: str) -> None:
    assert soften(text).replace(SOFT_BREAK, "\n") == text
