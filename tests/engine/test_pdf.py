import io
import subprocess
import sys
from pathlib import Path

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table

from engine.document import ParsedDocument, ParseLimits
from engine.errors import (
    DamagedDocument,
    EmptyDocument,
    EncryptedDocument,
    MediaTypeMismatch,
    TextTooLong,
    TooManyPages,
)
from engine.parse import parse

PDF = "application/pdf"
STYLES = getSampleStyleSheet()
PROSE = (
    "The valve must be looked at before the machine is started again after a long stop, and the opera&shy;tor does it. "
)


def pdf(path: Path, limits: ParseLimits | None = None) -> ParsedDocument:
    return parse(path, PDF, limits or ParseLimits())


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight chapters with running heads, headings in larger type, prose and tables."""
    path = tmp_path_factory.mktemp("pdf") / "manual.pdf"

    def edges(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.drawString(72, 805, f"Manual of the mill, sheet {document.page}")
        canvas.drawString(300, 30, str(document.page))

    story = []
    for chapter in range(1, 9):
        story += [
            Paragraph(f"{chapter} Chapter of part {chapter}", STYLES["Heading1"]),
            Paragraph(PROSE * 6, STYLES["BodyText"]),
            Paragraph("A short paragraph follows.", STYLES["BodyText"]),
            Paragraph(f"{chapter}.1 Torques", STYLES["Heading2"]),
            Table([["Part", "Torque in Nm"], ["Valve", "5"], ["Rotor bearing", "75"]]),
            PageBreak(),
        ]
    SimpleDocTemplate(str(path), title="Manual of the mill").build(story, onFirstPage=edges, onLaterPages=edges)
    return path


def test_pages_headings_and_title_have_their_places(manual: Path) -> None:
    document = pdf(manual)
    assert document.title == "Manual of the mill"
    assert [page.number for page in document.pages] == list(range(1, 9))
    assert [(heading.level, heading.title) for heading in document.headings[:3]] == [
        (1, "1 Chapter of part 1"),
        (2, "1.1 Torques"),
        (1, "2 Chapter of part 2"),
    ]
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    for page in document.pages:
        assert document.text[page.start : page.end].startswith(f"{page.number} Chapter")
    assert document.pages[-1].end == len(document.text)


def test_lines_become_paragraphs_and_rows_stay_rows(manual: Path) -> None:
    text = pdf(manual).text
    [prose, *_] = [block for block in text.split("\n\n") if block.startswith("The valve")]
    assert prose == " ".join([PROSE.strip().replace("&shy;", "")] * 6)
    assert "\n\nA short paragraph follows." in text
    assert "Valve 5" in text.split("\n")
    assert "Rotor bearing 75" in text.split("\n")


def test_running_heads_and_page_numbers_are_left_out(manual: Path) -> None:
    assert "sheet" not in pdf(manual).text


def test_a_sentence_runs_on_over_the_page_break(tmp_path: Path) -> None:
    path = tmp_path / "two.pdf"
    canvas = Canvas(str(path))
    canvas.drawString(72, 400, "The miller opens the gate and")
    canvas.showPage()
    canvas.drawString(72, 400, "waits until the wheel turns.")
    canvas.save()
    document = pdf(path)
    assert document.text == "The miller opens the gate and waits until the wheel turns."
    assert [document.text[page.start : page.end] for page in document.pages] == [
        "The miller opens the gate and",
        "waits until the wheel turns.",
    ]


def test_the_outline_gives_the_headings(tmp_path: Path) -> None:
    path = tmp_path / "outline.pdf"
    canvas = Canvas(str(path))
    for chapter in ("Alpha", "Beta"):
        canvas.bookmarkPage(chapter)
        canvas.addOutlineEntry(f"The {chapter} chapter", chapter, level=0)
        canvas.bookmarkPage(f"{chapter}-detail")
        canvas.addOutlineEntry("Details", f"{chapter}-detail", level=1)
        canvas.drawString(72, 700, "Something before it.")
        canvas.drawString(72, 640, f"The {chapter} chapter")
        canvas.drawString(72, 580, "And what it says.")
        canvas.showPage()
    canvas.save()
    document = pdf(path)
    found = [(heading.level, heading.title, document.text[heading.start :][:9]) for heading in document.headings]
    assert found == [
        (2, "Details", "Something"),
        (1, "The Alpha chapter", "The Alpha"),
        (2, "Details", "Something"),
        (1, "The Beta chapter", "The Beta "),
    ]


def test_the_dots_of_a_table_of_contents_are_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "contents.pdf"
    canvas = Canvas(str(path))
    canvas.drawString(72, 400, "1 Safety " + ". " * 40 + "7")
    canvas.drawString(72, 386, "2 Use " + "." * 60 + " 12")
    canvas.save()
    assert pdf(path).text == "1 Safety \u2026 7\n2 Use \u2026 12"


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_file_is_damaged(manual: Path, tmp_path: Path, share: float) -> None:
    whole = manual.read_bytes()
    path = tmp_path / "half.pdf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DamagedDocument, match="end of the file"):
        pdf(path)


def test_a_broken_file_with_both_ends_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.4\n" + b"nothing\n" * 500 + b"startxref\n9\n%%EOF\n")
    with pytest.raises(DamagedDocument):
        pdf(path)
    path.write_bytes(b"%PDF-1.4\nstartxref\n99999\n%%EOF\n")
    with pytest.raises(DamagedDocument, match="byte 99999"):
        pdf(path)


def test_a_password_is_named_as_the_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=StandardEncryption("secret", ownerPassword="owner", strength=128))
    canvas.drawString(72, 400, "Hidden.")
    canvas.save()
    path = tmp_path / "locked.pdf"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(EncryptedDocument):
        pdf(path)


def test_a_page_without_text_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "scan.pdf"
    canvas = Canvas(str(path))
    canvas.rect(72, 72, 200, 200)
    canvas.save()
    with pytest.raises(EmptyDocument):
        pdf(path)


def test_what_is_no_pdf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.pdf"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with pytest.raises(MediaTypeMismatch):
        pdf(path)


def test_limits_hold(manual: Path) -> None:
    with pytest.raises(TooManyPages, match="8 pages, at most 7"):
        pdf(manual, ParseLimits(pages_max=7))
    with pytest.raises(TextTooLong):
        pdf(manual, ParseLimits(text_chars_max=500))


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """50 MB and 1,000 pages, read in a process of its own so that its peak can be told from the tests'."""
    path = tmp_path / "large.pdf"
    generate = [sys.executable, "-m", "samples.big_pdf", str(path), "--pages", "1000", "--size-bytes", "50000000"]
    subprocess.run(generate, check=True, capture_output=True)
    script = """
import resource, sys
from pathlib import Path
from engine.parse import ParseLimits, parse
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
document = parse(Path(sys.argv[1]), "application/pdf", ParseLimits())
print(len(document.pages), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    pages, megabytes = map(int, done.stdout.split())
    assert pages == 1_000
    assert megabytes < 150
