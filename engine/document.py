"""What a parser makes of a file: its text, and where pages and headings lie in it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """What a document may hold; beyond it parsing ends in `TooManyPages`, `TextTooLong` or `TooManyChunks`."""

    pages_max: int = 20_000
    text_chars_max: int = 25_000_000
    """Text and chunks pass through memory whole: 20 million characters take 380 MB, parser and worker together."""
    chunks_max: int = 200_000
    """Of the longest text, chunks as long as they may be come to 25,000."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page (from 1) and the stretch of text on it, in characters."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: its level from 1, its words, and where it starts in the text, in characters."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The extracted text with its structure; ``pages`` is empty where the format has none."""

    text: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    title: str | None = None
