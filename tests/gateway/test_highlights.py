"""Highlights: where the words of a query stand in a text, in any of their forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.highlights import Highlighter


@pytest.mark.parametrize(
    ("words", "marked"),
    [
        (["mills"], "A water-<mill>'s <MILLS> were <milling>, windmill, <mill>_x; http://<mill>.example/x"),
        (["Happiness", "dying"], "<happy> to <die>"),
        (["x2", "3rd", "42"], "<X2> of the <3rd>, x, 2, <42>, 421"),
        (["Größe", "ÉTÉ"], "Die <Größe>, <été> 𝄞."),
        ([], "Nothing."),
    ],
)
def test_words_are_found_in_any_form(words: list[str], marked: str) -> None:
    text = marked.replace("<", "").replace(">", "")
    assert mark(text, list(Highlighter(words).spans(text))) == marked


@given(
    st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1).filter(str.isalnum)),
    st.text(st.characters(categories=["L", "N", "Z", "P"])),
)
def test_any_words_and_any_text_will_do(words: list[str], text: str) -> None:
    spans = list(Highlighter(words).spans(text))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1), min_size=1))
def test_a_word_of_the_query_is_found_where_it_stands(words: list[str]) -> None:
    text = " ".join(words)
    assert mark(text, list(Highlighter(words).spans(text))) == " ".join(f"<{word}>" for word in words)


def mark(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = f"{text[:start]}<{text[start:end]}>{text[end:]}"
    return text
