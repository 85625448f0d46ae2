"""Lays blocks out as a Word document."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime

from docx import Document

from samples.markup import Block, Caution, Heading, Listing, Paragraph, Table

_WRITTEN = datetime(2019, 3, 25, 9, 0)  # noqa: DTZ001 - Word keeps its dates without a zone
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def _with_fixed_dates(docx: bytes) -> bytes:
    """The same archive, without the time of day that its writer stamps on each member."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), old.read(name), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def docx_bytes(author: str, blocks: list[Block]) -> bytes:
    """A DOCX of the blocks, the same bytes on each call; its first heading is its title."""
    document = Document()
    properties = document.core_properties
    properties.author, properties.created, properties.modified = author, _WRITTEN, _WRITTEN
    for block in blocks:
        match block:
            case Heading(level=level, text=text):
                document.add_heading(text, level - 1)
                if level == 1:
                    properties.title = text
            case Paragraph(text=text):
                document.add_paragraph(text)
            case Caution(word=word, text=text):
                document.add_paragraph(f"{word}: {text}", "Intense Quote")
            case Listing(items=items, numbered=numbered):
                for item in items:
                    document.add_paragraph(item, "List Number" if numbered else "List Bullet")
            case Table(rows=rows):
                table = document.add_table(0, len(rows[0]), "Light Grid Accent 1")
                for row in rows:
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = text
                document.add_paragraph()
    buffer = io.BytesIO()
    document.save(buffer)
    return _with_fixed_dates(buffer.getvalue())
