"""Chunk: a parsed document becomes stretches of text that fit an embedder, cut along its structure."""

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, zip_longest

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from semantic_text_splitter import TextSplitter

from engine.document import Heading, ParsedDocument
from engine.tokens import CountedText
from engine.wrap import SOFT_BREAK, soften
from schemas.events import Chunk, Place

HEADING_CHARS_MAX = 200
"""A heading longer than this is a paragraph in disguise; it is embedded with every chunk below it."""

PLACES_MAX = 256
"""As many as a chunk has tokens by default; thousands of empty pages would make one chunk larger than an event."""

# A heading's line, in Markdown perhaps with a line drawn below it, and the empty lines behind it.
_HEADING = re.compile(r"[^\n]*\n(?:[=-]+[ \t]*\n)?\s*")
UNBROKEN_CHARS_MAX = 1_024
"""The splitter takes time with the square of the longest stretch without a boundary. No language has one this long."""
_BOUNDARY = r"\s.,;:!?\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
_BROKEN = re.compile(rf"(?:[^{_BOUNDARY}]{{0,{UNBROKEN_CHARS_MAX - 1}}}+[{_BOUNDARY}]++)*+")


class ChunkSettings(BaseSettings):
    """How documents are cut."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_CHUNK_", frozen=True)

    tokens_max: int = Field(default=256, ge=16, le=8_192, description="Tokens in a chunk, at most.")
    overlap_tokens: int = Field(
        default=32, ge=0, description="Tokens that a chunk shares with the one before, at most."
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """What stands under one heading, the heading included, up to the next of any level."""

    start: int
    end: int
    level: int
    """0 for what comes before the first heading."""
    path: tuple[str, ...]
    bare: bool
    """Whether it is the heading and nothing else."""


def chunk(document: ParsedDocument, settings: ChunkSettings) -> Iterator[Chunk]:
    """Cut a document into chunks of at most ``tokens_max`` as `count_tokens` counts them, in order, none of them blank.

    The same document and settings always give the same chunks. A chunk keeps to its section, unless the sections below
    it fit in beside it; a document that fits into one chunk is one chunk.
    """
    overlap = min(settings.overlap_tokens, settings.tokens_max // 2)
    counted = CountedText(document.text)
    sections = list(_sections(document))
    section_starts = [section.start for section in sections]
    page_starts = [page.start for page in document.pages]

    def place(start: int, section: int) -> Place:
        page = bisect_right(page_starts, start) - 1
        number = document.pages[page].number if page >= 0 else None
        return Place(start=start, page=number, heading_path=sections[section].path)

    ordinal = 0
    for start, end in _stretches(document.text, sections, settings.tokens_max, counted):
        inside = sections[bisect_left(section_starts, start) : bisect_left(section_starts, end)]
        view = _view(document.text, start, end, inside)
        size = _Size(counted, view, start)
        splitter = TextSplitter.from_callback(size, settings.tokens_max, overlap=overlap)
        for offset, piece in splitter.chunk_indices(view):
            first, last = start + offset, start + offset + len(piece)
            text = document.text[first:last]
            section = _section_at(sections, section_starts, first, last)
            beginning = place(first, section)
            borders = {
                *section_starts[section + 1 : bisect_left(section_starts, last)],
                *page_starts[bisect_right(page_starts, first) : bisect_left(page_starts, last)],
            }
            places = [
                beginning,
                *(place(start, _section_at(sections, section_starts, start, last)) for start in sorted(borders)),
            ]
            yield _hashed(
                Chunk(
                    ordinal=ordinal,
                    text=text,
                    start=first,
                    end=last,
                    page=beginning.page,
                    heading_path=beginning.heading_path,
                    places=tuple(islice(_changes(places), PLACES_MAX)),
                    token_count=counted.count(first, last),
                    content_hash="0" * 32,
                )
            )
            ordinal += 1


class _Size:
    """How many tokens a piece of a stretch has, for the splitter, which asks of each text a dozen times as it grows.

    The splitter tells the piece but not its place. Where the same text stands twice, either place will do.
    """

    def __init__(self, counted: CountedText, view: str, start: int) -> None:
        self._counted = counted
        self._view = view
        self._start = start
        self._place = 0
        self._longest = 0

    def __call__(self, piece: str) -> int:
        if not self._view.startswith(piece, self._place):
            # The splitter goes forward, but for the overlap with a piece that it has asked of before.
            self._place = self._view.find(piece, max(0, self._place - self._longest))
        self._longest = max(self._longest, len(piece))
        return self._counted.count(self._start + self._place, self._start + self._place + len(piece))


def _changes(places: Sequence[Place]) -> Iterator[Place]:
    for before, after in pairwise(places):
        if (before.page, before.heading_path) != (after.page, after.heading_path):
            yield after


def _section_at(sections: Sequence[_Section], section_starts: Sequence[int], start: int, end: int) -> int:
    """The section that a chunk's text from ``start`` to ``end`` begins with."""
    section = max(0, bisect_right(section_starts, start) - 1)
    # What begins with "Part 1" and goes on with "Chapter 1" belongs to the chapter.
    while sections[section].bare and sections[section].end < end:
        section += 1
    return section


def _view(text: str, start: int, end: int, sections: Sequence[_Section]) -> str:
    """The stretch as the splitter is to see it: unwrapped, and with each heading in the paragraph that follows it."""
    view = soften(text[start:end])
    parts: list[str] = []
    position = 0
    for section in sections:
        heading = _HEADING.match(view, section.start - start) if section.level else None
        if heading and heading.start() >= position:
            parts += [view[position : heading.start()], heading[0].replace("\n", SOFT_BREAK)]
            position = heading.end()
    return "".join((*parts, view[position:]))


def _hashed(chunk: Chunk) -> Chunk:
    digest = hashlib.sha256(chunk.embedding_input().encode()).hexdigest()
    return chunk.model_copy(update={"content_hash": digest[:32]})


def _sections(document: ParsedDocument) -> Iterator[_Section]:
    text = document.text
    headings = sorted(document.headings, key=lambda heading: heading.start)
    first = headings[0].start if headings else len(text)
    if text[:first].strip():
        yield _Section(0, first, 0, (), bare=False)
    above: list[Heading] = []
    for heading, following in zip_longest(headings, headings[1:]):
        above = [*(other for other in above if other.level < heading.level), heading]
        end = following.start if following else len(text)
        line_end = text.find("\n", heading.start, end)
        yield _Section(
            heading.start,
            end,
            heading.level,
            tuple(other.title[:HEADING_CHARS_MAX] for other in above),
            bare=line_end < 0 or not text[line_end:end].strip(),
        )


def _stretches(
    text: str, sections: Sequence[_Section], tokens_max: int, counted: CountedText
) -> Iterator[tuple[int, int]]:
    """Where to cut first: the stretches, in order, that hold all the text and whose borders no chunk crosses."""

    # No need to count what is surely too long: a token is rarely more than 16 characters.
    def fits(start: int, end: int) -> bool:
        return end - start <= 16 * tokens_max and counted.count(start, end) <= tokens_max

    if not sections:
        return
    if fits(0, len(text)):
        yield 0, len(text)
        return
    stretch = sections[0]
    for section in sections[1:]:
        below = section.level > stretch.level > 0
        if stretch.bare or (below and fits(stretch.start, section.end)):
            stretch = replace(stretch, end=section.end, bare=stretch.bare and section.bare)
        else:
            yield from _bounded(text, stretch)
            stretch = section
    yield from _bounded(text, stretch)


def _bounded(text: str, stretch: _Section) -> Iterator[tuple[int, int]]:
    start = stretch.start
    while (broken := _BROKEN.match(text, start, stretch.end)) and broken.end() + UNBROKEN_CHARS_MAX <= stretch.end:
        yield start, broken.end() + UNBROKEN_CHARS_MAX
        start = broken.end() + UNBROKEN_CHARS_MAX
    yield start, stretch.end
