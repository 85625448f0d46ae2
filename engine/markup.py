"""Office documents, web pages, books and mail by kreuzberg, as Markdown."""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.archive import MARKUP_PER_TEXT_MAX, check_archive
from engine.document import ParsedDocument, ParseLimits
from engine.errors import DamagedDocument, MediaTypeMismatch, NestedTooDeeply, TextTooLong
from engine.nesting import html_depth
from engine.plain import decode, markdown_headings

if TYPE_CHECKING:
    from kreuzberg import ExtractionConfig, ExtractionResult

HTML = "text/html"
XHTML = "application/xhtml+xml"
RTF = "application/rtf"
EMAIL = "message/rfc822"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
EPUB = "application/epub+zip"

ZIP_MAIN_PART: Mapping[str, str] = {
    DOCX: "word/document.xml",
    PPTX: "ppt/presentation.xml",
    XLSX: "xl/workbook.xml",
    ODT: "content.xml",
    EPUB: "META-INF/container.xml",
}
"""A part that each of the zipped formats must have; it tells them apart."""

HTML_DEPTH_MAX = 60
"""kreuzberg drops what is nested in more than 63 elements, and may put some around the page itself."""
CHARSET_BYTES = 1_024
"""The HTML standard has the encoding declared in the first kilobyte."""

_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
# kreuzberg writes what it learns from these into the text, as front matter whose last line reads as a heading. They
# have no content of their own but the title, so taking them out beforehand is safer than telling that matter from text.
_METADATA = re.compile(
    r"<title\b[^>]*(?<!/)>(.{0,2000}?)</title\s*>|<(?:meta|link|base)\b[^>]*>", re.IGNORECASE | re.DOTALL
)
# An image's address (or its bytes, as a data URL) is no text; its description is.
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
# kreuzberg's messages begin with the name of its error's class, which tells users nothing.
_ERROR_CLASS = re.compile(r"^\w+Error: ")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\xad\ud800-\udfff\ufffe\uffff]")


def parse_markup(path: Path, media_type: str, limits: ParseLimits) -> ParsedDocument:
    """Read one of the formats above.

    Raises what `check_archive` does, and `DamagedDocument`, `MediaTypeMismatch`, `NestedTooDeeply`, `InvalidText` or
    `TextTooLong`.
    """
    title = None
    if media_type in ZIP_MAIN_PART:
        check_archive(path, ZIP_MAIN_PART[media_type], limits)
        result = _extract(path, media_type)
    else:
        if path.stat().st_size > limits.text_chars_max * MARKUP_PER_TEXT_MAX:
            raise TextTooLong(f"More than {limits.text_chars_max} characters.")
        data = path.read_bytes()
        if media_type in {HTML, XHTML}:
            data, title = _html(data)
            media_type = HTML
        elif media_type == RTF:
            _check_rtf(data)
        result = _extract(data, media_type)
    text = _IMAGE.sub(r"\1", _UNPRINTABLE.sub("", result.content)).strip("\n")
    if len(text) > limits.text_chars_max:
        raise TextTooLong(f"{len(text)} characters, at most {limits.text_chars_max}.")
    title = title or result.metadata.get("title") or result.metadata.get("subject")
    return ParsedDocument(
        text,
        headings=tuple(markdown_headings(text)),
        title=_UNPRINTABLE.sub("", title).strip() or None if title else None,
    )


def _html(data: bytes) -> tuple[bytes, str | None]:
    """The page as UTF-8 without its metadata, and its title."""
    declared = _CHARSET.search(data[:CHARSET_BYTES])
    page = decode(data, fallback=declared[1].decode() if declared else None)
    if (depth := html_depth(page)) > HTML_DEPTH_MAX:
        raise NestedTooDeeply(f"{depth} deep, where {HTML_DEPTH_MAX} can be read.")
    found = next((match[1] for match in _METADATA.finditer(page) if match[1]), "")
    return _METADATA.sub("", page).encode(), " ".join(html.unescape(found).split()) or None


def _check_rtf(data: bytes) -> None:
    if not data.startswith(b"{\\rtf"):
        raise MediaTypeMismatch("Not RTF: it does not begin with {\\rtf.")
    if not data.rstrip(b"\0\r\n\t ").endswith(b"}"):
        raise DamagedDocument("The end of the file is missing (its last brace).")


def _extract(source: Path | bytes, media_type: str) -> "ExtractionResult":
    # 80 MB of machine code, which a process that never parses need not map.
    import kreuzberg  # noqa: PLC0415

    config = _config()
    try:
        if isinstance(source, bytes):
            return kreuzberg.extract_bytes_sync(source, media_type, config=config)
        return kreuzberg.extract_file_sync(source, media_type, config=config)
    except kreuzberg.KreuzbergError as error:
        reason = " ".join(_ERROR_CLASS.sub("", str(error)).split())
        raise DamagedDocument(f"{reason[:300]}.") from error
    except BaseException as error:
        # A bug in a library that the file found. The class derives from nothing else and can be imported from nowhere.
        if type(error).__name__ != "PanicException":
            raise
        raise DamagedDocument("Its parser stumbled over it.") from None


def _config() -> "ExtractionConfig":
    from kreuzberg import ExtractionConfig  # noqa: PLC0415

    return ExtractionConfig(
        output_format="markdown",
        # The cache is a folder in the working directory.
        use_cache=False,
        enable_quality_processing=False,
        # Some sites wrap the whole page in a form.
        html_options={"preprocessing": {"enabled": True, "preset": "aggressive", "remove_forms": False}},
    )
