import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tokens
from engine.chunk import ChunkSettings, chunk
from engine.document import Heading, Page, ParsedDocument
from engine.plain import markdown_headings
from engine.tokens import CountedText, count_tokens, load_tokenizer
from schemas.events import Chunk

SMALL = ChunkSettings(tokens_max=32, overlap_tokens=8)

WORDS = st.sampled_from(
    [
        "the",
        "valve",
        "Rotor,",
        "turns.",
        "Größe",
        "日本語のテキスト。",
        "x2",
        "12.5",
        "E-22",
        "😀",
        "don't",
        "(see)",
        "stop!",
        "…",
    ]
)
LINES = st.lists(WORDS, min_size=0, max_size=30).map(" ".join)
BLOCKS = st.one_of(
    LINES,
    LINES.map(lambda line: "# " + line),
    LINES.map(lambda line: "## " + line),
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=80),
    st.just("\n\n   \n"),
    st.just("a_" * 700),
)
TEXTS = st.lists(BLOCKS, max_size=14).flatmap(
    lambda blocks: st.sampled_from(["\n", "\n\n", " "]).map(lambda joint: joint.join(blocks))
)


def markdown(text: str) -> ParsedDocument:
    return ParsedDocument(text, headings=tuple(markdown_headings(text)))


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_chunks_hold_all_the_text_in_order_and_within_bounds(text: str) -> None:
    document = markdown(text)
    chunks = list(chunk(document, SMALL))
    assert [one.ordinal for one in chunks] == list(range(len(chunks)))
    covered: set[int] = set()
    for one in chunks:
        assert one.text == text[one.start : one.end]
        assert one.text.strip()
        assert one.token_count == count_tokens(one.text) <= SMALL.tokens_max
        covered.update(range(one.start, one.end))
    assert all(char.isspace() for place, char in enumerate(text) if place not in covered)
    assert all(one.start < two.start and one.end < two.end for one, two in pairwise(chunks))
    assert chunks == list(chunk(document, SMALL))


@given(TEXTS)
@settings(max_examples=50, deadline=None)
def test_the_hash_is_of_what_is_embedded(text: str) -> None:
    for one in chunk(markdown(text), SMALL):
        assert one.content_hash == hashlib.sha256(one.embedding_input().encode()).hexdigest()[:32]
        assert Chunk.model_validate_json(one.model_dump_json()) == one


def test_a_short_document_is_one_chunk() -> None:
    text = "# One\n\nShort.\n\n# Two\n\nShort too.\n"
    [only] = chunk(markdown(text), ChunkSettings())
    assert (only.text, only.heading_path) == (text.strip(), ("One",))


def test_a_blank_document_has_no_chunk() -> None:
    assert list(chunk(ParsedDocument(" \n "), ChunkSettings())) == []


def test_a_chunk_keeps_to_its_section() -> None:
    body = "The wheel turns and turns. " * 8
    text = f"Before.\n\n# One\n\n{body}\n\n## Small\n\nA bit.\n\n# Two\n\n{body}\n"
    chunks = list(chunk(markdown(text), ChunkSettings(tokens_max=80)))
    assert [one.heading_path for one in chunks] == [(), ("One",), ("Two",)]
    assert [one.text[:5] for one in chunks] == ["Befor", "# One", "# Two"]
    assert "## Small" in chunks[1].text


def test_a_heading_alone_goes_with_what_it_heads() -> None:
    body = "The wheel turns and turns. " * 20
    text = f"# Part\n\n## Chapter\n\n{body}\n\n## Next\n\n{body}"
    chunks = list(chunk(markdown(text), ChunkSettings(tokens_max=64, overlap_tokens=0)))
    assert chunks[0].text.startswith("# Part\n\n## Chapter\n\nThe wheel")
    assert {one.heading_path for one in chunks} == {("Part", "Chapter"), ("Part", "Next")}
    assert all("wheel" in one.text for one in chunks)


def test_the_page_is_that_of_the_first_character() -> None:
    sentence = "The wheel turns and turns and turns again. "
    text = sentence * 40
    pages = tuple(Page(number, start, start + 400) for number, start in enumerate(range(0, len(text), 400), start=1))
    for one in chunk(ParsedDocument(text, pages), SMALL):
        assert one.page == one.start // 400 + 1


@given(TEXTS, st.integers(1, 300), st.sampled_from([16, 64]))
@settings(max_examples=100, deadline=None)
def test_places_lie_inside_and_differ_from_what_was_before(text: str, page_chars: int, tokens_max: int) -> None:
    pages = tuple(
        Page(number, start, start + page_chars) for number, start in enumerate(range(0, len(text), page_chars), 1)
    )
    for one in chunk(ParsedDocument(text, pages, tuple(markdown_headings(text))), ChunkSettings(tokens_max=tokens_max)):
        starts = [one.start, *(place.start for place in one.places), one.end]
        assert all(before < after for before, after in pairwise(starts))
        held = [(one.page, one.heading_path), *((place.page, place.heading_path) for place in one.places)]
        assert all(before != after for before, after in pairwise(held))
        assert one.places == () or held[-1][0] == (one.end - 1) // page_chars + 1


def test_the_places_of_a_chunk_over_pages_and_sections() -> None:
    text = "# One\n\nShort.\n\n# Two\n\n## Below\n\nShort too.\n"
    pages = (Page(1, 0, 10), Page(2, 10, len(text)))
    [only] = chunk(ParsedDocument(text, pages, tuple(markdown_headings(text))), ChunkSettings())
    assert [(place.start, place.page, place.heading_path) for place in only.places] == [
        (10, 2, ("One",)),
        # A heading alone belongs to what it heads.
        (text.index("# Two"), 2, ("Two", "Below")),
    ]


def test_long_paragraphs_are_cut_between_sentences_even_if_wrapped() -> None:
    sentences = [f"Sentence number {n} of the miller says a little more than the one before." for n in range(40)]
    wrapped = ""
    for word in " ".join(sentences).split():
        line_chars = len(wrapped) - wrapped.rfind("\n")
        wrapped += ("\n" if line_chars + len(word) > 72 else " ") + word
    for one in chunk(ParsedDocument(wrapped.strip()), ChunkSettings(tokens_max=64, overlap_tokens=0)):
        assert one.text.startswith("Sentence number")
        assert one.text.endswith("before.")


def test_chunks_overlap_as_far_as_asked() -> None:
    text = " ".join(f"Sentence {n} is short." for n in range(200))
    chunks = list(chunk(ParsedDocument(text), ChunkSettings(tokens_max=32, overlap_tokens=12)))
    shared = [count_tokens(text[two.start : one.end]) for one, two in pairwise(chunks)]
    assert all(0 < tokens <= 12 for tokens in shared)
    apart = list(chunk(ParsedDocument(text), ChunkSettings(tokens_max=32, overlap_tokens=0)))
    assert all(one.end <= two.start for one, two in pairwise(apart))


def test_long_headings_are_cut_in_the_path() -> None:
    document = ParsedDocument("Title\n\nText.", headings=(Heading(1, "T" * 1_000, 0),))
    [only] = chunk(document, ChunkSettings())
    assert len(only.heading_path[0]) == 200


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=300, deadline=None)
def test_tokens_are_counted_as_the_tokenizer_makes_them(text: str) -> None:
    assert count_tokens(text) == len(TOKENIZER.encode(text, add_special_tokens=False).ids)


TOKENIZER = load_tokenizer()


@given(TEXTS, st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), max_size=20), st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_a_stretch_has_as_many_tokens_as_its_text_alone(
    text: str, stretches: list[tuple[int, int]], window_chars: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "WINDOW_CHARS", window_chars)
        counted = CountedText(text)
        for one, other in stretches:
            start, end = sorted((min(one, len(text)), min(other, len(text))))
            assert counted.count(start, end) == count_tokens(text[start:end])


@pytest.mark.parametrize(
    "text", ["a_" * 100_000, "\u65e5" * 50_000, "e\u0301" * 50_000, "." * 200_000, "x\n" * 100_000]
)
@pytest.mark.timeout(20)
def test_no_text_takes_quadratic_time(text: str) -> None:
    assert sum(1 for _ in chunk(ParsedDocument(text), ChunkSettings())) > 20
