"""Parse: a file of a known media type becomes text with pages, headings and a title.

Parsing is pure work and can take long; run it in a process of its own, where a hostile file can be stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from engine import markup
from engine.archive import OLE_MAGIC
from engine.document import Heading, Page, ParsedDocument, ParseLimits
from engine.errors import EmptyDocument, MediaTypeMismatch, UnsupportedMediaType
from engine.markup import parse_markup
from engine.pdf import parse_pdf
from engine.plain import parse_markdown, parse_plain

__all__ = ["SUPPORTED_MEDIA_TYPES", "Heading", "Page", "ParseLimits", "ParsedDocument", "media_type_of", "parse"]

SUPPORTED_MEDIA_TYPES: Mapping[str, tuple[str, ...]] = {
    "application/pdf": (".pdf",),
    "text/plain": (".txt", ".text", ".log"),
    "text/markdown": (".md", ".markdown"),
    "text/csv": (".csv",),
    markup.HTML: (".html", ".htm"),
    markup.XHTML: (".xhtml",),
    markup.DOCX: (".docx",),
    markup.PPTX: (".pptx",),
    markup.XLSX: (".xlsx",),
    markup.ODT: (".odt",),
    markup.EPUB: (".epub",),
    markup.RTF: (".rtf",),
    markup.EMAIL: (".eml",),
}
"""The media types that `parse` reads, each with the extensions of its files."""

TITLE_CHARS_MAX = 500
"""A first heading that is longer is a paragraph in disguise."""

_BY_EXTENSION = {extension: kind for kind, extensions in SUPPORTED_MEDIA_TYPES.items() for extension in extensions}
_TEXTUAL: Mapping[str, Callable[[Path, ParseLimits], ParsedDocument]] = {
    "text/plain": parse_plain,
    "text/markdown": parse_markdown,
    "text/csv": parse_plain,
}
_BINARY_MAGIC = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    OLE_MAGIC: "an older Office document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
    b"{\\rtf": "an RTF document",
}
"""How files begin that are no text, whatever they are declared to be."""


def media_type_of(filename: str) -> str | None:
    """The media type that a file's name stands for, if it is a supported one."""
    return _BY_EXTENSION.get(PurePath(filename).suffix.lower())


def load() -> None:
    """Load the libraries that the first document would wait for: a second or more."""
    import kreuzberg  # noqa: F401, PLC0415 - 80 MB of machine code, which a process that never parses need not map


def parse(path: Path, media_type: str, limits: ParseLimits) -> ParsedDocument:
    """Read a document. Its text is never blank, has no control characters but newline and tab, and is valid Unicode.

    Raises a subclass of `UnreadableDocument`: `UnsupportedMediaType`, `EmptyDocument`, `MediaTypeMismatch`,
    `EncryptedDocument`, `DamagedDocument`, `UnsafeDocument`, `NestedTooDeeply`, `InvalidText`, `TooManyPages`,
    `TooManyCells` or `TextTooLong`.
    """
    if media_type not in SUPPORTED_MEDIA_TYPES:
        raise UnsupportedMediaType(f"{media_type}.")
    if not path.stat().st_size:
        raise EmptyDocument("The file has 0 bytes.")
    document = _read(path, media_type, limits)
    if not document.text.strip():
        raise EmptyDocument
    title = document.title
    if title is None and document.headings and document.headings[0].level == 1:
        title = document.headings[0].title
    return replace(document, title=title and title[:TITLE_CHARS_MAX])


def _read(path: Path, media_type: str, limits: ParseLimits) -> ParsedDocument:
    if media_type == "application/pdf":
        return parse_pdf(path, limits)
    if media_type not in {*markup.ZIP_MAIN_PART, markup.RTF}:
        _check_textual(path)
    if reader := _TEXTUAL.get(media_type):
        return reader(path, limits)
    return parse_markup(path, media_type, limits)


def _check_textual(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(16)
    for magic, name in _BINARY_MAGIC.items():
        if beginning.startswith(magic):
            raise MediaTypeMismatch(f"The content is {name}.")
