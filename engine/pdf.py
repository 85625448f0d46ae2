"""PDF by pdfium: page by page, so that memory follows the page and not the file.

pdfium gives lines in reading order. Paragraphs are put together from their geometry, what repeats at the edge of the
pages (running heads, page numbers) is left out, and headings come from the outline, or else from the size of the type.
"""

import ctypes
import re
import statistics
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from engine.document import Heading, Page, ParsedDocument, ParseLimits
from engine.errors import DamagedDocument, EncryptedDocument, MediaTypeMismatch, TextTooLong, TooManyPages

HEADER_BYTES = 1_024
"""Readers accept ``%PDF-`` anywhere in the first kilobyte."""
TRAILER_BYTES = 4_096
"""Readers look for ``%%EOF`` in the last kilobyte; four leave room for what mail gateways append."""
SAMPLE_PAGES = 60
"""Enough pages to know the size of the body type and what repeats at the edges."""
EDGE_SHARE = 0.1
"""Running heads and feet stand in the outer tenth of the page."""
HEADING_RATIO = 1.12
"""A heading's type is at least this much larger than the body's: 11 pt and 12.5 pt."""
SPACED_OUT_RATIO = 1.4
"""A line with so much more room to a character has gaps in it; justified lines rarely get to 1.2."""
TITLE_RATIO = 1.5
"""Running heads are rarely set in type this large, and the titles of pages often."""
HEADING_CHARS_MAX = 200
HEADING_LEVELS_MAX = 6

# Control characters have no place in a text (Postgres refuses NUL), nor have halves of surrogate pairs; U+FFFE is
# pdfium's mark for a hyphen at the end of a line, U+00AD the invisible one: both would cut a word in two.
_DROPPED = re.compile("[\x00-\x08\x0b-\x1f\x7f\xad\ud800-\udfff\ufffe\uffff]")
_DIGITS = re.compile(r"\d+")
# Dots that lead the eye from a heading to its page number: most of a table of contents, and none of its meaning.
_LEADERS = re.compile(r"(?: ?\.){4,} ?")
_CONTENTS = re.compile(r"\u2026 \d*$")
_UNNAMED = re.compile(
    r"^\(?(untitled|anonymous|unspecified)\b|^Microsoft Word - |\.(docx?|pdf|indd|tex)$", re.IGNORECASE
)

_pdfium_lock = threading.Lock()
"""pdfium is not safe to enter from two threads."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of type; lengths in points, y upwards."""

    text: str
    left: float
    right: float
    top: float
    bottom: float
    size: float

    @property
    def height(self) -> float:
        return max(self.size, 1.0)

    @property
    def column(self) -> int:
        """The same for lines that begin alike, give or take an indent."""
        return round(self.left / (3 * self.height))

    @property
    def advance(self) -> float:
        return (self.right - self.left) / len(self.text) / self.height


@dataclass(slots=True)
class _Block:
    """Lines that read as one paragraph, and whether the block before it is the row or item above."""

    text: str
    size: float
    follows_closely: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """What the sample says of the whole document."""

    body_size: float
    advance: float
    """The width of a character and what follows it, as a share of the size."""
    repeated: frozenset[tuple[str, int]]


def parse_pdf(path: Path, limits: ParseLimits) -> ParsedDocument:
    """Read a PDF.

    Raises `EncryptedDocument`, `DamagedDocument`, `MediaTypeMismatch`, `TooManyPages` or `TextTooLong`.
    """
    _check_whole(path)
    with _pdfium_lock:
        try:
            document = pdfium.PdfDocument(path)
        except pdfium.PdfiumError as error:
            if error.err_code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY}:
                raise EncryptedDocument from error
            raise DamagedDocument(f"{error}.") from error
        try:
            if len(document) > limits.pages_max:
                raise TooManyPages(f"{len(document)} pages, at most {limits.pages_max}.")
            return _Assembly(document, limits).run()
        finally:
            document.close()


def _check_whole(path: Path) -> None:
    """Refuse what pdfium would repair in silence: the first half of a document, say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if b"%PDF-" not in file.read(HEADER_BYTES):
            raise MediaTypeMismatch("Not a PDF: it does not begin with %PDF-.")
        file.seek(max(0, size - TRAILER_BYTES))
        trailer = file.read()
    if b"%%EOF" not in trailer:
        raise DamagedDocument("The end of the file is missing (%%EOF).")
    start = re.search(rb"startxref\s+(\d+)\s+%%EOF", trailer)
    if start and int(start[1]) >= size:
        raise DamagedDocument(f"Its cross-reference table should be at byte {int(start[1])} of {size}.")


class _Assembly:
    """Puts the text of a document together, and the places of pages and headings in it."""

    def __init__(self, document: pdfium.PdfDocument, limits: ParseLimits) -> None:
        self.document = document
        self.limits = limits
        self.parts: list[str] = []
        self.length = 0
        self.pages: list[Page] = []
        self.large: list[tuple[float, Heading]] = []
        self.outline = _outline(document)
        self.outlined: list[Heading] = []

    def run(self) -> ParsedDocument:
        look = _look(self.document)
        for index in range(len(self.document)):
            self._page(index, look)
        title = self.document.get_metadata_dict().get("Title", "").strip()
        title = _DROPPED.sub("", title)
        return ParsedDocument(
            text="".join(self.parts),
            pages=tuple(self.pages),
            headings=tuple(sorted(self.outlined, key=lambda heading: heading.start) or _ranked(self.large)),
            title=title if title and not _UNNAMED.search(title) else None,
        )

    def _page(self, index: int, look: _Look) -> None:
        lines, height = _lines(self.document, index)
        # "Sheet 1", "Sheet 2" in large type are titles, however often they come.
        own = [
            line
            for line in lines
            if line.size >= look.body_size * TITLE_RATIO or look.repeated.isdisjoint(_edges(line, height))
        ]
        blocks = list(_blocks(own, look))
        entries = self.outline.get(index, [])
        start = self.length
        for position, block in enumerate(blocks):
            self._append(self._joint(block, first=position == 0))
            if position == 0:
                start = self.length
            self._headings(block, look, entries)
            self._append(block.text)
        # What the outline names but the page does not show in these words begins with the page.
        self.outlined += [Heading(level, title, start) for level, title in entries]
        self.pages.append(Page(index + 1, start, self.length))

    def _joint(self, block: _Block, *, first: bool) -> str:
        if not self.parts:
            return ""
        if first:
            # A sentence that runs on over the page break stays one sentence.
            runs_on = block.text[:1].islower() and self.parts[-1][-1:] not in ".!?:"
            return " " if runs_on else "\n\n"
        return "\n" if block.follows_closely else "\n\n"

    def _headings(self, block: _Block, look: _Look, entries: list[tuple[int, str]]) -> None:
        if len(block.text) > HEADING_CHARS_MAX:
            return
        words = _words(block.text)
        for entry in entries:
            if words.endswith(_words(entry[1])):
                self.outlined.append(Heading(entry[0], _one_line(block.text), self.length))
                entries.remove(entry)
                break
        if block.size >= look.body_size * HEADING_RATIO and sum(map(str.isalpha, block.text)) > 1:
            self.large.append((block.size, Heading(1, _one_line(block.text), self.length)))

    def _append(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)
        if self.length > self.limits.text_chars_max:
            raise TextTooLong(f"More than {self.limits.text_chars_max} characters.")


def _outline(document: pdfium.PdfDocument) -> dict[int, list[tuple[int, str]]]:
    """The outline's entries by page index, as (level from 1, title)."""
    entries: dict[int, list[tuple[int, str]]] = {}
    for bookmark in document.get_toc(max_depth=HEADING_LEVELS_MAX):
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        title = _one_line(_DROPPED.sub("", bookmark.get_title()))
        if index is not None and title:
            entries.setdefault(index, []).append((bookmark.level + 1, title))
    return entries


def _look(document: pdfium.PdfDocument) -> _Look:
    """Look at some pages, in pairs since left and right pages differ."""
    total = len(document)
    step = max(2, 2 * total // SAMPLE_PAGES)
    sample = sorted({index for first in range(0, total, step) for index in (first, min(first + 1, total - 1))})
    sizes: Counter[float] = Counter()
    edges: Counter[tuple[str, int]] = Counter()
    advances: list[float] = []
    for index in sample:
        lines, height = _lines(document, index)
        for line in lines:
            sizes[round(line.size * 2) / 2] += len(line.text)
            advances.append(line.advance)
        edges.update({edge for line in lines for edge in _edges(line, height)})
    enough = max(min(3, len(sample)), len(sample) // 5, 2)
    return _Look(
        sizes.most_common(1)[0][0] if sizes else 0.0,
        statistics.median(advances) if advances else 0.0,
        frozenset(edge for edge, count in edges.items() if count >= enough),
    )


def _edges(line: _Line, height: float) -> tuple[tuple[str, int], ...]:
    """Names for what stands at the edge of a page, the same on every page where it begins or ends alike."""
    if height * EDGE_SHARE < line.bottom and line.top < height * (1 - EDGE_SHARE):
        return ()
    # Page numbers and the names of chapters differ, mostly at one end of the line.
    words = _DIGITS.sub("#", line.text).split()
    return (" ".join(words[:3]), round(line.bottom)), (" ".join(words[-3:]), round(line.bottom))


def _lines(document: pdfium.PdfDocument, index: int) -> tuple[list[_Line], float]:
    """The lines of a page that hold anything, and the height of the page."""
    try:
        page = document[index]
        text_page = page.get_textpage()
    except pdfium.PdfiumError as error:
        raise DamagedDocument(f"Page {index + 1}: {error}.") from error
    try:
        height = page.get_height()
        lines = []
        start = 0
        for raw in text_page.get_text_range().split("\r\n"):
            text = _LEADERS.sub(" \u2026 ", " ".join(_DROPPED.sub("", raw).split()))
            if text:
                lines.append(
                    _line(text_page, text, start + len(raw) - len(raw.lstrip()), start + len(raw.rstrip()) - 1)
                )
            start += len(raw) + 2
    finally:
        text_page.close()
        page.close()
    return lines, height


def _line(text_page: pdfium.PdfTextPage, text: str, first: int, last: int) -> _Line:
    at = [pdfium_c.FPDFText_GetCharIndexFromTextIndex(text_page, index) for index in (first, (first + last) // 2, last)]
    first, middle, last = (max(0, index) for index in at)
    left, _, _, top = text_page.get_charbox(first, loose=True)
    _, bottom, right, _ = text_page.get_charbox(last, loose=True)
    # The number of a list item is often larger than its words, so the middle of the line speaks for it.
    matrix = pdfium_c.FS_MATRIX()
    scaled = pdfium_c.FPDFText_GetMatrix(text_page, middle, ctypes.byref(matrix))
    scale = (matrix.c**2 + matrix.d**2) ** 0.5 if scaled else 1.0
    return _Line(text, left, right, top, bottom, pdfium_c.FPDFText_GetFontSize(text_page, middle) * scale)


def _blocks(lines: list[_Line], look: _Look) -> Iterator[_Block]:
    """Join lines into paragraphs, and the cells of a table's row."""
    gaps = [a.bottom - b.top for a, b in pairwise(lines) if abs(a.bottom - b.top) < 2 * a.height]
    usual_gap = statistics.median_low(gaps) if gaps else 0.0
    # Columns and lists have right edges of their own; lines that begin alike belong together.
    edges: dict[int, float] = {}
    for line in lines:
        edges[line.column] = max(edges.get(line.column, 0.0), line.right)
    block: _Block | None = None
    first = above = None
    for line in lines:
        near = above is not None and -line.height < above.bottom - line.top <= usual_gap + 0.3 * line.height
        beside = above is not None and first is not None and line.left > above.right and line.top > first.bottom
        if block and above and (beside or (near and _continues(above, line, edges[above.column], look))):
            block.text = f"{block.text} {line.text}"
        else:
            if block:
                yield block
            block = _Block(line.text, line.size, near)
            first = line
        above = line
    if block:
        yield block


def _continues(above: _Line, line: _Line, edge: float, look: _Look) -> bool:
    """Whether a line goes on with the sentence of the line right above it."""
    if abs(above.size - line.size) > 0.05 * line.height or _CONTENTS.search(above.text):
        return False
    if line.size >= look.body_size * HEADING_RATIO:
        return True
    if line.text[:1].islower() and above.text[-1] not in ".!?:;":
        return True
    # A table's row is as wide as the text, but has gaps.
    return above.advance < SPACED_OUT_RATIO * look.advance and above.right >= above.left + 0.8 * (edge - above.left)


def _ranked(large: list[tuple[float, Heading]]) -> Iterator[Heading]:
    """Give headings their level: the larger the type, the higher."""
    sizes = sorted({round(size * 2) for size, _ in large}, reverse=True)
    level = {size: min(rank, HEADING_LEVELS_MAX) for rank, size in enumerate(sizes, start=1)}
    for size, heading in large:
        yield Heading(level[round(size * 2)], heading.title, heading.start)


def _words(text: str) -> str:
    """Letters and digits alone: how two spellings of one heading are compared."""
    return "".join(filter(str.isalnum, text)).casefold()


def _one_line(text: str) -> str:
    return " ".join(text.split())
