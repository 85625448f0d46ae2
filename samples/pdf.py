"""Lays blocks out as a PDF: title page, table of contents, bookmarks, running headers, tables that break over pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import B5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Frame,
    ListFlowable,
    ListItem,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Spacer,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Grid
from reportlab.platypus.tableofcontents import TableOfContents

from samples.emblem import water_wheel
from samples.markup import Block, Caution, Heading, Listing, Paragraph, Table

INK, BLUE, PALE, RULE = HexColor("#1c2430"), HexColor("#1f4e79"), HexColor("#eef3f8"), HexColor("#b9c6d3")
SIGNALS = {"DANGER": HexColor("#b3261e"), "WARNING": HexColor("#c25e00"), "NOTICE": BLUE}
MARGIN = 20 * mm
WIDTH = B5[0] - 2 * MARGIN

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.6, leading=14, textColor=INK, spaceAfter=6)
CELL = ParagraphStyle("cell", BODY, fontSize=8.4, leading=11, spaceAfter=0)
CELL_HEAD = ParagraphStyle("cell head", CELL, fontName="Helvetica-Bold", textColor=white)
TITLE = ParagraphStyle("title", BODY, fontName="Helvetica-Bold", fontSize=27, leading=33, textColor=BLUE)
SUBTITLE = ParagraphStyle("subtitle", BODY, fontSize=13, leading=19)
HEADINGS = {
    1: ParagraphStyle("h1", TITLE, fontSize=20, leading=25, spaceAfter=12),
    2: ParagraphStyle("h2", TITLE, fontSize=13.5, leading=18, spaceBefore=12, spaceAfter=5),
    3: ParagraphStyle("h3", TITLE, fontSize=10.5, leading=14, spaceBefore=7, spaceAfter=3, textColor=INK),
}
CONTENTS = [
    ParagraphStyle("toc1", BODY, fontName="Helvetica-Bold", leading=11, spaceBefore=4, spaceAfter=0),
    ParagraphStyle("toc2", BODY, fontSize=9, leading=9.5, leftIndent=6 * mm, spaceAfter=0),
]


@dataclass(frozen=True)
class Cover:
    """What the title page, the running header and the footer say."""

    title: str
    subtitle: str
    lines: tuple[str, ...]
    number: str


def _column_widths_pt(table: Table) -> list[float]:
    """Widths in points: no word is broken, and what is left is shared by the length of the longest cells."""
    padding = 12
    columns = list(zip(*table.rows, strict=True))

    def widest(texts: list[str]) -> float:
        return max((float(stringWidth(text, "Helvetica-Bold", 8.4)) for text in texts), default=0.0) + padding

    least = [widest([word for cell in column for word in cell.split()]) for column in columns]
    asked = [widest(list(column)) for column in columns]
    spare = WIDTH - sum(least)
    wanted = [max(ask - low, 0.1) for ask, low in zip(asked, least, strict=True)]
    return [low + spare * want / sum(wanted) for low, want in zip(least, wanted, strict=True)]


def _grid(table: Table) -> Any:
    cells = [[Text(escape(cell), CELL if row else CELL_HEAD) for cell in cells] for row, cells in enumerate(table.rows)]
    style = [
        ("BACKGROUND", (0, 0), (-1, 0), BLUE),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, PALE]),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 3),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
    return Grid(cells, _column_widths_pt(table), repeatRows=1, style=style, spaceBefore=4, spaceAfter=10)


def _warning(block: Caution) -> Any:
    colour = SIGNALS[block.word]
    word = ParagraphStyle("signal", CELL_HEAD, fontSize=8.8, alignment=1)
    style = [
        ("BACKGROUND", (0, 0), (0, 0), colour),
        ("BOX", (0, 0), (-1, -1), 0.8, colour),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("TOPPADDING", (0, 0), (-1, -1), 6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]
    row = [[Text(block.word, word), Text(escape(block.text), CELL)]]
    return Grid(row, [24 * mm, WIDTH - 24 * mm], style=style, spaceBefore=6, spaceAfter=10)


def _flowables(block: Block) -> list[Any]:
    match block:
        case Heading(level=level):
            heading = Text(escape(block.label), HEADINGS[level])
            heading.block = block
            # A heading that would stand alone at the foot of a page moves to the next one.
            return [CondPageBreak((70, 38, 30)[level - 1] * mm), heading]
        case Paragraph(text=text):
            return [Text(escape(text), BODY)]
        case Caution():
            return [_warning(block)]
        case Listing(items=items, numbered=numbered):
            kind: dict[str, Any] = (
                {"bulletType": "1", "bulletFormat": "%s."} if numbered else {"bulletType": "bullet", "start": "•"}
            )
            entries = [ListItem(Text(escape(item), BODY), spaceAfter=0) for item in items]
            return [ListFlowable(entries, leftIndent=14, bulletFontSize=9.6, bulletColor=BLUE, **kind), Spacer(0, 4)]
        case Table():
            return [_grid(block)]


def write_pdf(path: Path, cover: Cover, blocks: list[Block], *, book: bool) -> None:
    """Write a PDF, the same bytes on each run.

    A `book` has a title page, a table of contents, and begins each chapter on a new page.
    """
    doc = BaseDocTemplate(str(path), pagesize=B5, title=cover.title, author="Halden Millworks", invariant=1)
    running = {"chapter": ""}

    def mark_heading(flowable: Any) -> None:
        heading = getattr(flowable, "block", None)
        if not isinstance(heading, Heading):
            return
        if heading.level == 1:
            running["chapter"] = heading.label
        key = "-".join(heading.label.split())
        doc.canv.bookmarkPage(key)
        doc.canv.addOutlineEntry(heading.label, key, heading.level - 1, closed=heading.level > 1)
        if heading.level <= len(CONTENTS):
            doc.notify("TOCEntry", (heading.level - 1, escape(heading.label), doc.page, key))

    def begin_book(_canvas: Any, _doc: Any) -> None:
        running["chapter"] = "Contents"  # the document is laid out more than once, until its page numbers agree

    def draw_margins(canvas: Any, _doc: Any) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(BLUE)
        canvas.drawString(MARGIN, B5[1] - 13 * mm, cover.title)
        canvas.drawRightString(B5[0] - MARGIN, B5[1] - 13 * mm, running["chapter"])
        canvas.drawString(MARGIN, 11 * mm, cover.number)
        canvas.drawRightString(B5[0] - MARGIN, 11 * mm, f"Page {canvas.getPageNumber()}")
        canvas.setStrokeColor(RULE)
        canvas.line(MARGIN, B5[1] - 15 * mm, B5[0] - MARGIN, B5[1] - 15 * mm)
        canvas.line(MARGIN, 15 * mm, B5[0] - MARGIN, 15 * mm)
        canvas.restoreState()

    frame = Frame(MARGIN, 18 * mm, WIDTH, B5[1] - 37 * mm, 0, 0, 0, 0)
    # The margins are drawn at the page's end, when its chapter is known.
    pages = PageTemplate("page", [frame], onPageEnd=draw_margins)
    doc.addPageTemplates([PageTemplate("cover", [frame], onPage=begin_book), pages] if book else [pages])
    doc.afterFlowable = mark_heading

    story: list[Any] = []
    if book:
        contents = TableOfContents(levelStyles=CONTENTS, dotsMinLevel=0)
        title = [Spacer(0, 18 * mm), water_wheel(62 * mm), Spacer(0, 16 * mm), Text(escape(cover.title), TITLE)]
        title += [Text(escape(cover.subtitle), SUBTITLE), Spacer(0, 10 * mm)]
        title += [Text(escape(line), BODY) for line in (*cover.lines, cover.number)]
        story += [*title, NextPageTemplate("page"), PageBreak(), Text("Contents", HEADINGS[1]), contents]
    for block in blocks:
        if book and isinstance(block, Heading) and block.level == 1:
            story.append(PageBreak())
        story += _flowables(block)
    doc.multiBuild(story)
