"""Text that is there already: decoding, and the headings of Markdown."""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from engine.document import Heading, ParsedDocument, ParseLimits
from engine.errors import InvalidText, TextTooLong

UTF8_BYTES_PER_CHAR_MAX = 4

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # Begins like UTF-16's and so comes first.
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NEWLINES = re.compile("\r\n?")
_CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f]")
# Both are settled by their place in the file, before Markdown begins; CommonMark knows nothing of them.
_FRONT_MATTER = re.compile(r"\A---\n(.*?\n)?---\n", re.DOTALL)
_FRONT_MATTER_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)


def parse_plain(path: Path, limits: ParseLimits) -> ParsedDocument:
    """Read a text as it is. Raises `InvalidText` or `TextTooLong`."""
    return ParsedDocument(read_text(path, limits))


def parse_markdown(path: Path, limits: ParseLimits) -> ParsedDocument:
    """Read Markdown as it is, with its headings. Raises `InvalidText` or `TextTooLong`."""
    text = read_text(path, limits)
    front = _FRONT_MATTER.match(text)
    title = _FRONT_MATTER_TITLE.search(front[0]) if front else None
    return ParsedDocument(
        text,
        headings=tuple(markdown_headings(text, front.end() if front else 0)),
        title=title[1].strip("\"'") if title else None,
    )


def read_text(path: Path, limits: ParseLimits) -> str:
    """The text of a file, without its byte order mark and with newlines as line ends.

    Raises `InvalidText` or `TextTooLong`.
    """
    if path.stat().st_size > limits.text_chars_max * UTF8_BYTES_PER_CHAR_MAX:
        raise TextTooLong(f"More than {limits.text_chars_max} characters.")
    text = decode(path.read_bytes())
    if len(text) > limits.text_chars_max:
        raise TextTooLong(f"{len(text)} characters, at most {limits.text_chars_max}.")
    return text


def decode(data: bytes, fallback: str | None = None) -> str:
    """Bytes as text: by their byte order mark, else as UTF-8, else in the ``fallback`` encoding.

    Raises `InvalidText`.
    """
    mark, encoding = next((entry for entry in _BYTE_ORDER_MARKS if data.startswith(entry[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if fallback and not mark:
            # A name that is no text encoding, or bytes that are not valid in this one either, leave the first error.
            with suppress(LookupError, UnicodeError):
                return decode(data.decode(fallback).encode())
        raise InvalidText(f"Byte {len(mark) + error.start} is not {encoding.upper()}: {error.reason}.") from error
    if (nul := text.find("\0")) >= 0:
        raise InvalidText(f"Byte {len(mark) + len(text[:nul].encode(encoding))} is a NUL.")
    return _CONTROL.sub(" ", _NEWLINES.sub("\n", text))


def markdown_headings(text: str, start: int = 0) -> Iterator[Heading]:
    """The headings of a Markdown text from ``start`` on; not those in code, quotations or lists."""
    markdown = _markdown()
    tokens = markdown.parse(text[start:])
    line_starts = list(accumulate((len(line) + 1 for line in text[start:].split("\n")), initial=start))
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            title = _without_markup(markdown, inline.content)
            if title:
                yield Heading(int(opening.tag[1:]), title, line_starts[opening.map[0]])


@cache
def _markdown() -> MarkdownIt:
    """Made once: that takes as long as reading three pages."""
    markdown = MarkdownIt("commonmark")
    # Inline markup matters in the headings alone; leaving it out elsewhere makes this several times faster.
    markdown.core.ruler.enableOnly(["normalize", "block"])
    return markdown


def _without_markup(markdown: MarkdownIt, content: str) -> str:
    children: list[Token] = []
    markdown.inline.parse(content, markdown, {}, children)
    return " ".join("".join(child.content or " " * child.type.endswith("break") for child in children).split())
