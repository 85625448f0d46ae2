import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.pdfgen.canvas import Canvas

from engine.answer import Passage
from engine.chunk import ChunkSettings, chunk
from engine.cite import Citer, cite
from engine.document import Heading, Page, ParsedDocument, ParseLimits
from engine.parse import parse
from schemas.events import Place
from tests.engine.conftest import passage

VALVES = passage(
    "Valves\n\nThe relief valve opens at 5 bar.  It closes\nagain at 4 bar. Look at the seal every week!", start=100
)
WHEEL = passage("The wheel turns at six rounds a minute. Grease it daily.", document_id="wheel", page=None, start=7)


def test_a_verbatim_sentence_is_quoted_to_the_character() -> None:
    answer, [citation] = cite("It closes again at 4 bar. [1]", "When does it close?", [VALVES])
    assert answer == "It closes again at 4 bar. [1]"
    assert citation.quote == "It closes\nagain at 4 bar."
    assert VALVES.text[citation.start - 100 : citation.end - 100] == citation.quote
    assert (citation.document_id, citation.revision, citation.page, citation.heading_path) == (
        "manual",
        1,
        3,
        ("Valves",),
    )


def test_a_quotation_inside_the_claim_is_found() -> None:
    _, [citation] = cite("The manual says \u201copens at 5 bar\u201d, which is much [1].", "", [VALVES])
    assert citation.quote == "opens at 5 bar."


def test_a_paraphrase_cites_the_nearest_sentence() -> None:
    _, [citation] = cite("Inspect the seal weekly [1].", "How often must one look at the seal?", [VALVES])
    assert citation.quote == "Look at the seal every week!"
    _, [citation] = cite("Yes [1].", "Does the relief valve open?", [VALVES])
    assert citation.quote == "The relief valve opens at 5 bar."


def test_only_the_claim_behind_which_the_marker_stands_counts() -> None:
    text = (
        "The relief valve opens at 5 bar. The wheel turns at six rounds a minute [2]. Look at the seal every week! [1]"
    )
    answer, citations = cite(text, "", [VALVES, WHEEL])
    assert answer == text.replace("[2]", "[#]").replace("[1]", "[2]").replace("[#]", "[1]")
    assert [citation.quote for citation in citations] == [
        "The wheel turns at six rounds a minute.",
        "Look at the seal every week!",
    ]


def test_markers_are_renumbered_by_first_use_and_one_span_has_one_number() -> None:
    text = "Grease it daily [2]. The relief valve opens at 5 bar [1]. And grease it daily [2][2]."
    answer, citations = cite(text, "", [VALVES, WHEEL])
    assert answer == "Grease it daily [1]. The relief valve opens at 5 bar [2]. And grease it daily [1][1]."
    assert [(one.number, one.document_id) for one in citations] == [(1, "wheel"), (2, "manual")]


def test_overlapping_passages_share_a_citation() -> None:
    text = "First it rains. Then the wheel turns at last. Then it stands."
    one, two = passage(text), passage(text[16:], start=16)
    answer, [citation] = cite("Then the wheel turns at last [1][2].", "", [one, two])
    assert (answer, citation.quote) == ("Then the wheel turns at last [1][1].", "Then the wheel turns at last.")


def test_several_numbers_in_one_marker() -> None:
    answer, citations = cite("Both need care [1, 2].", "care of valve and wheel", [VALVES, WHEEL])
    assert (answer, len(citations)) == ("Both need care [1][2].", 2)


def test_markers_of_nothing_are_taken_out() -> None:
    answer, citations = cite("A [0] b [3], c [2, 9] d [1][77].", "", [VALVES, WHEEL])
    assert answer == "A b, c [1] d [2]."
    assert len(citations) == 2
    assert cite("Nothing [1].", "", []) == ("Nothing.", ())
    assert cite("Nothing [1].", "", [passage(" \n ")]) == ("Nothing.", ())
    assert cite("No marker.", "", [VALVES]) == ("No marker.", ())


WORDS = st.lists(
    st.sampled_from(
        ["The", "wheel", "turns.", "Valve", "opens!", "at", "5", "bar,", "[1]", "[2]", "\n\n", "“", "”", "。", "(x)"]
    ),
    max_size=25,
)
TEXTS = WORDS.map(" ".join)


@given(
    answer=st.lists(st.one_of(TEXTS, st.integers(0, 6).map("[{}]".format)), max_size=12).map(" ".join),
    question=TEXTS,
    texts=st.lists(st.tuples(TEXTS, st.integers(0, 50)), max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_quotes_equal_their_spans_and_numbers_run_from_one(
    answer: str, question: str, texts: list[tuple[str, int]]
) -> None:
    # Each passage from a document of its own, so that a quotation can be looked up again.
    passages = [passage(text, start, document_id=f"d{n}") for n, (text, start) in enumerate(texts)]
    by_id: dict[str, Passage] = {one.document_id: one for one in passages}
    written, citations = cite(answer, question, passages)
    for citation in citations:
        source = by_id[citation.document_id]
        assert citation.quote == source.text[citation.start - source.start : citation.end - source.start]
        assert citation.quote.strip()
        assert source.start <= citation.start < citation.end <= source.end
    assert [citation.number for citation in citations] == list(range(1, len(citations) + 1))
    used = [int(number) for number in re.findall(r"\[(\d+)\]", written)]
    assert list(dict.fromkeys(used)) == list(range(1, len(citations) + 1))
    spans = {(citation.document_id, citation.start, citation.end) for citation in citations}
    assert len(spans) == len(citations)


@pytest.mark.parametrize("text", ["x " * 20_000, "(" * 20_000, "a." * 20_000, " " * 20_000 + "x", "[1" * 10_000])
@pytest.mark.timeout(20)
def test_long_texts_are_cited_in_time(text: str) -> None:
    cite(f"{text} [1]", text, [passage(text)])


def test_an_answer_that_is_still_coming_is_told_as_it_will_be_in_the_end() -> None:
    """Markers that are cut in two wait; what was told before stays the beginning of what is told later."""
    passages = [
        passage("The gate is shut at night.", document_id="gate", heading_path=()),
        passage("The wheel turns at seven. The wheel is old.", document_id="wheel", heading_path=()),
    ]
    answer = "The wheel turns at seven [2]. It is old [2][9]. The gate is shut at night [1, 2]!"
    whole = cite(answer, "", passages)
    for size in range(1, len(answer)):
        citer = Citer("", passages)
        told = ""
        for start in range(0, len(answer), size):
            told += citer.feed(answer[start : start + size])
            assert whole[0].startswith(told)
        assert (told + citer.end(), citer.citations) == whole


@given(
    pieces=st.lists(st.one_of(TEXTS, st.sampled_from(["[", "]", " [1", "2]", ", 3", " ", "[1]"])), max_size=20),
    texts=st.lists(TEXTS, max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_it_is_the_same_in_pieces(pieces: list[str], texts: list[str]) -> None:
    passages = [passage(text, document_id=f"d{n}") for n, text in enumerate(texts)]
    citer = Citer("", passages)
    told = "".join(map(citer.feed, pieces)) + citer.end()
    assert (told, citer.citations) == cite("".join(pieces), "", passages)


@given(
    paragraphs=st.lists(st.tuples(st.sampled_from(["", "# ", "## "]), st.integers(0, 40)), min_size=1, max_size=12),
    page_chars=st.integers(30, 400),
    tokens_max=st.sampled_from([16, 64, 256]),
)
@settings(max_examples=100, deadline=None)
def test_a_citation_names_the_page_and_the_headings_where_its_quote_begins(
    paragraphs: list[tuple[str, int]], page_chars: int, tokens_max: int
) -> None:
    text, headings = "", []
    for number, (mark, words) in enumerate(paragraphs):
        if mark:
            headings.append(Heading(len(mark) - 1, f"Heading {number}", len(text)))
            text += f"{mark}Heading {number}\n\n"
        text += f"Paragraph {number} has {'many ' * words}words. Then comes its sentence {number}b.\n\n"
    starts = range(0, len(text), page_chars)
    pages = tuple(Page(n, start, min(start + page_chars, len(text))) for n, start in enumerate(starts, 1))
    for one in chunk(ParsedDocument(text, pages, tuple(headings)), ChunkSettings(tokens_max=tokens_max)):
        found = passage(one.text, one.start, page=one.page, heading_path=one.heading_path, places=one.places)
        for number in map(int, re.findall(r"sentence (\d+)b", one.text)):
            _, [citation] = cite(f"Then comes its sentence {number}b [1].", "", [found])
            assert citation.page == citation.start // page_chars + 1
            above = [heading.title for heading in headings if heading.start <= citation.start]
            assert citation.heading_path[-1:] == tuple(above[-1:])


def test_a_quote_on_the_second_page_of_a_pdf_s_chunk(tmp_path: Path) -> None:
    path = tmp_path / "two.pdf"
    canvas = Canvas(str(path))
    for line in ("The miller opens the gate at dawn.", "The wheel turns until the evening."):
        canvas.drawString(72, 400, line)
        canvas.showPage()
    canvas.save()
    [one] = chunk(parse(path, "application/pdf", ParseLimits()), ChunkSettings())
    assert (one.page, [place.page for place in one.places]) == (1, [2])
    found = passage(one.text, one.start, page=one.page, heading_path=one.heading_path, places=one.places)
    _, citations = cite("The miller opens the gate at dawn [1]. The wheel turns until the evening [1].", "", [found])
    assert [(citation.page, citation.quote) for citation in citations] == [
        (1, "The miller opens the gate at dawn."),
        (2, "The wheel turns until the evening."),
    ]


def test_what_stands_before_the_first_place_is_where_the_passage_begins() -> None:
    places = (Place(start=20, page=2, heading_path=("B",)), Place(start=30, page=None))
    found = passage("x" * 40, 10, page=1, heading_path=("A",), places=places)
    assert [found.place(start).page for start in (10, 19, 20, 29, 30, 49)] == [1, 1, 2, 2, None, None]
    assert [found.place(start).heading_path for start in (19, 20, 30)] == [("A",), ("B",), ()]
