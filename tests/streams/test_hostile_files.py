"""Files made to do harm: each ends within its limits, as a clear failure or as what can be read of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from engine.chunk import ChunkSettings
from engine.errors import (
    DamagedDocument,
    MediaTypeMismatch,
    NestedTooDeeply,
    TextTooLong,
    TooManyCells,
    TooManyChunks,
    TooManyPages,
    UnsafeDocument,
)
from engine.markup import DOCX, EMAIL, EPUB, HTML, ODT, RTF, XLSX
from engine.parse import ParseLimits
from samples import hostile
from schemas.errors import MillraceError
from streams.parser import Parser, ParserOutOfMemory
from streams.settings import WorkerSettings
from tests.streams.parsing import parsed_by

MEMORY_MB = 512
TIMEOUT_S = 120
CODE_MB = 150
"""What a parser has in memory beside what it allocates: the interpreter, and the libraries' machine code."""
PDF = "application/pdf"
Make = Callable[[], bytes]

REFUSED: dict[Make, tuple[str, type[MillraceError]]] = {
    hostile.pdf_of_pages: (PDF, TooManyPages),
    hostile.pdf_of_cyclic_pages: (PDF, DamagedDocument),
    hostile.pdf_of_forms: (PDF, ParserOutOfMemory),
    hostile.pdf_bomb: (PDF, ParserOutOfMemory),
    hostile.pdf_font_bomb: (PDF, ParserOutOfMemory),
    hostile.pdf_of_arrays: (PDF, DamagedDocument),
    hostile.docx_bomb: (DOCX, UnsafeDocument),
    hostile.docx_picture_bomb: (DOCX, UnsafeDocument),
    hostile.docx_lying_bomb: (DOCX, DamagedDocument),
    hostile.docx_laughs: (DOCX, UnsafeDocument),
    hostile.docx_external_entity: (DOCX, UnsafeDocument),
    hostile.docx_of_tables: (DOCX, NestedTooDeeply),
    hostile.docx_of_parts: (DOCX, UnsafeDocument),
    hostile.docx_of_overlapping_parts: (DOCX, UnsafeDocument),
    hostile.zipped_by_gzip: (DOCX, MediaTypeMismatch),
    hostile.pdf_and_zip: (DOCX, MediaTypeMismatch),
    hostile.odt_of_sections: (ODT, NestedTooDeeply),
    hostile.xlsx_of_far_cells: (XLSX, TooManyCells),
    hostile.xlsx_beyond_the_grid: (XLSX, TooManyCells),
    hostile.xlsx_claiming_strings: (XLSX, UnsafeDocument),
    hostile.html_of_divs: (HTML, NestedTooDeeply),
    hostile.csv_of_one_line: ("text/csv", TextTooLong),
    hostile.many_headings: ("text/markdown", TooManyChunks),
}

READ: dict[Make, str] = {
    hostile.pdf_claiming_pages: PDF,
    hostile.pdf_with_cyclic_outline: PDF,
    hostile.pdf_font_claiming_glyphs: PDF,
    hostile.pdf_claiming_picture: PDF,
    hostile.pdf_jbig2: PDF,
    hostile.pdf_and_zip: PDF,
    hostile.html_and_pdf: PDF,
    hostile.docx_in_docx: DOCX,
    hostile.xlsx_claiming_cells: XLSX,
    hostile.epub_of_outside_paths: EPUB,
    hostile.html_of_wide_cells: HTML,
    hostile.rtf_of_braces: RTF,
    hostile.mail_of_parts: EMAIL,
    hostile.mail_of_mails: EMAIL,
    hostile.text_of_accents: "text/plain",
}


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[Parser]:
    settings = WorkerSettings(parse_processes=2, parse_memory_mb=MEMORY_MB, parse_timeout_s=TIMEOUT_S)
    parser = Parser(settings, ParseLimits(chunks_max=3_000), ChunkSettings())
    yield parser
    await parser.close()


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Fails where a process took more memory than it may."""
    highest_mb = 0.0

    async def watch() -> None:
        nonlocal highest_mb
        while True:
            for process in psutil.Process().children():
                with suppress(psutil.Error):
                    highest_mb = max(highest_mb, process.memory_info().rss / 2**20)
            await asyncio.sleep(0.05)  # a look at what goes on, for as long as it does

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
    assert highest_mb < MEMORY_MB + CODE_MB


async def parse(parser: Parser, folder: Path, content: bytes, media_type: str) -> str:
    """The text, with its white space and markup made one."""
    (folder / "document").write_bytes(content)
    return " ".join((await parsed_by(parser, folder / "document", media_type)).text.split())


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
async def test_what_goes_too_far_fails_clearly(parser: Parser, tmp_path: Path, make: Make) -> None:
    media_type, error = REFUSED[make]
    content = make()
    async with bounded():
        with pytest.raises(error) as raised:
            await parse(parser, tmp_path, content, media_type)
    assert re.match(r"[A-Z].* .*\.$", str(raised.value))
    assert await parse(parser, tmp_path, hostile.SENTENCE.encode(), "text/plain") == hostile.SENTENCE


@pytest.mark.parametrize("make", READ, ids=lambda make: make.__name__)
async def test_what_is_only_odd_is_read(parser: Parser, tmp_path: Path, make: Make) -> None:
    async with bounded():
        text = await parse(parser, tmp_path, make(), READ[make])
    assert text
    assert "root:" not in text
