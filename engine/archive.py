"""Zipped formats, looked through before a parser unpacks them: what they claim, and what their XML is made of.

The parser behind has limits of its own, but where it exceeds them it dies, or says nothing that its user could act on.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from engine.document import ParseLimits
from engine.errors import (
    DamagedDocument,
    EncryptedDocument,
    MediaTypeMismatch,
    NestedTooDeeply,
    TextTooLong,
    TooManyCells,
    UnsafeDocument,
)

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MARKUP_PER_TEXT_MAX = 16
"""Bytes of XML to a character of text, generously; what unpacks to more is a bomb or over the limit."""
PARTS_MAX = 10_000
PART_BYTES_MAX = 100_000_000
UNPACKED_BYTES_MAX = 500_000_000
"""These three are kreuzberg's own limits; a picture or a film in a document may be large, but none needs more."""
XML_DEPTH_MAX = 256
"""Tables in tables in text boxes come to some 60; the parser's stack ends a few thousand deep."""
CELLS_MAX = 10_000_000
"""A sheet is read into a grid from its first to its last cell, at 32 bytes for each, empty or not."""
PIECE_BYTES = 4_194_304
"""Expat begins a name or value that goes on in the next piece anew, so pieces are large."""

HTML_ENDINGS = ("html", ".htm")
"""Books are made of web pages, which are not always XML."""
MARKUP_ENDINGS = (".xml", ".rels", ".opf", ".ncx", *HTML_ENDINGS)

_CELL = re.compile(r"([A-Za-z]{1,9})([0-9]{1,12})")


def check_archive(path: Path, main_part: str, limits: ParseLimits) -> None:
    """Refuse an archive that is not what it should be, or that could do harm.

    Raises `EncryptedDocument`, `DamagedDocument`, `MediaTypeMismatch`, `UnsafeDocument`, `NestedTooDeeply`,
    `TooManyCells` or `TextTooLong`.
    """
    with path.open("rb") as file:
        magic = file.read(len(OLE_MAGIC))
    if magic == OLE_MAGIC:
        # Office puts a document with a password into the container of its older formats.
        if "EncryptedPackage".encode("utf-16-le") in path.read_bytes():
            raise EncryptedDocument
        raise MediaTypeMismatch("It is in an older Office format.")
    if not magic.startswith(b"PK"):
        raise MediaTypeMismatch("Not a ZIP archive, which this format is.")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_directory(archive.infolist(), main_part, limits)
            for part in archive.infolist():
                if part.filename.endswith(MARKUP_ENDINGS):
                    _check_xml(archive, part)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise DamagedDocument("The archive is incomplete or contradicts itself.") from error


def _check_directory(parts: list[zipfile.ZipInfo], main_part: str, limits: ParseLimits) -> None:
    if main_part not in {part.filename for part in parts}:
        raise MediaTypeMismatch(f"{main_part} is missing in the archive.")
    if any(part.flag_bits & 1 for part in parts):
        raise EncryptedDocument
    if len(parts) > PARTS_MAX:
        raise UnsafeDocument(f"It is made of {len(parts)} parts, at most {PARTS_MAX}.")
    markup_bytes = sum(part.file_size for part in parts if part.filename.endswith(MARKUP_ENDINGS))
    if markup_bytes > limits.text_chars_max * MARKUP_PER_TEXT_MAX:
        raise TextTooLong(f"{markup_bytes} bytes of markup.")
    largest = max(part.file_size for part in parts)
    if largest > PART_BYTES_MAX:
        raise UnsafeDocument(f"One of its parts unpacks to {largest} bytes, at most {PART_BYTES_MAX}.")
    if (unpacked := sum(part.file_size for part in parts)) > UNPACKED_BYTES_MAX:
        raise UnsafeDocument(f"It unpacks to {unpacked} bytes, at most {UNPACKED_BYTES_MAX}.")
    end = 0
    for part in sorted(parts, key=lambda part: part.header_offset):
        if part.header_offset < end:
            raise UnsafeDocument("Its parts lie over one another.")
        end = part.header_offset + part.compress_size


def _check_xml(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Walk through a part. The parser behind reads on where XML ends to be such, and so past all that is found here."""
    look = _Look(part.file_size)
    try:
        with archive.open(part) as file:
            while piece := file.read(PIECE_BYTES):
                look.at(piece)
    except expat.ExpatError as error:
        if not part.filename.endswith(HTML_ENDINGS):
            raise DamagedDocument("One of its parts is not well-formed XML.") from error


class _Look:
    """What one part's XML is made of, as it is read."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._depth = 0
        self._cell = ""
        self._columns: list[int] = []
        self._rows: list[int] = []
        self._parser = expat.ParserCreate()
        self._parser.EntityDeclHandler = self._entity
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def at(self, piece: bytes) -> None:
        self._parser.Parse(piece)

    def _entity(self, *_: object) -> None:
        raise UnsafeDocument("Its XML declares entities, which no program that writes such documents does.")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > XML_DEPTH_MAX:
            raise NestedTooDeeply(f"More than {XML_DEPTH_MAX} deep.")
        match name.rpartition(":")[2]:
            case "c":
                self._cell = attributes.get("r", "")
            case "v" | "is" if cell := _CELL.fullmatch(self._cell):
                self._reach(cell)
            case "sst" if any(_promised(attributes, name) > self._size_bytes for name in ("count", "uniqueCount")):
                # The parser makes room for as many strings as are promised.
                raise UnsafeDocument("Its table of strings promises more than it can hold.")

    def _end(self, name: str) -> None:
        self._depth -= 1

    def _reach(self, cell: re.Match[str]) -> None:
        column = sum((ord(letter) - 64) * 26**place for place, letter in enumerate(reversed(cell[1].upper())))
        self._columns = [min(column, *self._columns), max(column, *self._columns)] if self._columns else [column] * 2
        row = int(cell[2])
        self._rows = [min(row, *self._rows), max(row, *self._rows)] if self._rows else [row] * 2
        columns, rows = self._columns[1] - self._columns[0] + 1, self._rows[1] - self._rows[0] + 1
        if columns * rows > CELLS_MAX:
            raise TooManyCells(f"{columns} columns by {rows} rows, at most {CELLS_MAX} cells.")


def _promised(attributes: Mapping[str, str], name: str) -> int:
    count = attributes.get(name, "")
    return int(count) if count.isdecimal() and len(count) < 20 else 0
