"""The sample corpus keeps its promises: sizes, repeatability, and a true answer to each question."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest
from docx import Document

from samples import FILES, SAMPLES, hostile
from samples.big_pdf import write_big_pdf
from samples.diary import PLANTED
from samples.generate import generate

QUESTIONS = list(csv.DictReader((SAMPLES / "questions.csv").open(encoding="utf-8", newline="")))
GENERATED = {
    "halden-m7-manual.pdf",
    "stone-crane-certificate.pdf",
    "commissioning-report.docx",
    "sensor-diary.large.txt",
}
COMMITTED = sorted(
    path.name for path in FILES.iterdir() if path.name not in GENERATED and not path.name.startswith(".")
)


def pdf_pages(path: Path) -> list[str]:
    with pypdfium2.PdfDocument(path) as pdf:
        return [page.get_textpage().get_text_range() for page in pdf]


def docx_text(path: Path) -> str:
    document = Document(str(path))
    cells = (cell.text for table in document.tables for row in table.rows for cell in row.cells)
    return "\n".join([*(paragraph.text for paragraph in document.paragraphs), *cells])


def extracted(path: Path) -> str:
    """The text of a document, white space collapsed."""
    match path.suffix:
        case ".pdf":
            text = " ".join(pdf_pages(path))
        case ".docx":
            text = docx_text(path)
        case _:
            text = path.read_text("utf-8")
    return " ".join(text.split())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.name: path for path in generate(tmp_path_factory.mktemp("corpus"))}


@pytest.fixture(scope="module")
def texts(generated: dict[str, Path]) -> dict[str, str]:
    paths = [*(FILES / name for name in COMMITTED), *generated.values()]
    return {path.name: extracted(path) for path in paths}


def test_the_corpus_is_as_large_as_promised(generated: dict[str, Path]) -> None:
    assert set(generated) == GENERATED
    assert len(COMMITTED) >= 14
    for name in COMMITTED:
        assert 2_000 <= (FILES / name).stat().st_size <= 15_000, name
    assert 5_000_000 <= generated["sensor-diary.large.txt"].stat().st_size <= 5_500_000


def test_generating_twice_gives_the_same_bytes(generated: dict[str, Path], tmp_path: Path) -> None:
    for again in generate(tmp_path):
        assert again.read_bytes() == generated[again.name].read_bytes(), again.name


def test_the_manual_is_a_real_manual(generated: dict[str, Path]) -> None:
    path = generated["halden-m7-manual.pdf"]
    pages = pdf_pages(path)
    assert len(pages) >= 30
    assert all(f"Page {number}" in text for number, text in enumerate(pages[1:], start=2))
    with pypdfium2.PdfDocument(path) as pdf:
        assert {bookmark.level for bookmark in pdf.get_toc()} == {0, 1, 2}
    text = " ".join(pages)
    assert all(f"E-{code:02}" in text for code in range(1, 41))


def test_no_paragraph_of_the_manual_is_repeated() -> None:
    sources = sorted((SAMPLES / "sources" / "manual").glob("*.md"))
    blocks = [block for source in sources for block in source.read_text("utf-8").split("\n\n")]
    repeated = {block for block, times in Counter(blocks).items() if times > 1}
    assert not repeated


def test_each_planted_fact_stands_once_in_the_diary(texts: dict[str, str]) -> None:
    for fact in PLANTED.values():
        assert texts["sensor-diary.large.txt"].count(fact) == 1, fact


def test_there_are_questions_about_every_document(texts: dict[str, str]) -> None:
    asked = Counter(row["document"] for row in QUESTIONS)
    assert len(QUESTIONS) >= 40
    assert set(asked) == set(texts)
    assert min(asked.values()) >= 2
    assert asked["sicherheitsunterweisung.md"] >= 3


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: row["question"])
def test_the_answer_stands_in_its_document(row: dict[str, str], texts: dict[str, str]) -> None:
    assert row["answer"] in texts[row["document"]]


def test_big_pdf_has_its_size_and_distinct_pages(tmp_path: Path) -> None:
    path = tmp_path / "big.pdf"
    write_big_pdf(path, pages=50, size_bytes=2_500_000)
    assert path.stat().st_size == pytest.approx(2_500_000, rel=0.05)
    pages = pdf_pages(path)
    assert len(set(pages)) == 50
    assert all(250 <= len(text.split()) <= 550 for text in pages)
    with pypdfium2.PdfDocument(path) as pdf:
        images = pdf[49].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
        assert len(list(images)) == 1


HOSTILE = [
    hostile.empty_file,
    hostile.blank_text,
    hostile.truncated_pdf,
    hostile.encrypted_pdf,
    hostile.pdf_without_text,
    hostile.pdf_named_docx,
    hostile.png_named_pdf,
    hostile.binary_named_text,
    hostile.corrupt_docx,
    hostile.zip_named_docx,
    hostile.poisoned_utf8,
    hostile.latin1_text,
]


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_files_are_small_and_repeatable(make: Callable[[], bytes]) -> None:
    assert make() == make()
    assert len(make()) < 20_000


def test_hostile_pdfs_fail_as_they_are_meant_to() -> None:
    with pytest.raises(pypdfium2.PdfiumError, match="Data format"):
        pypdfium2.PdfDocument(hostile.truncated_pdf())
    with pytest.raises(pypdfium2.PdfiumError, match="password"):
        pypdfium2.PdfDocument(hostile.encrypted_pdf())
    with pypdfium2.PdfDocument(hostile.encrypted_pdf(), password=hostile.PASSWORD) as pdf:
        assert hostile.SENTENCE in pdf[0].get_textpage().get_text_range()
    with pypdfium2.PdfDocument(hostile.pdf_without_text()) as pdf:
        assert pdf[0].get_textpage().get_text_range() == ""


@pytest.mark.parametrize("make", [hostile.poisoned_utf8, hostile.latin1_text])
def test_hostile_texts_are_not_utf8(make: Callable[[], bytes]) -> None:
    with pytest.raises(UnicodeDecodeError):
        make().decode("utf-8")
