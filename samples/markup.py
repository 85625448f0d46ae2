"""Reads the Markdown that the generated documents are written in, as a flat list of blocks to lay out."""

from __future__ import annotations

from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 (chapter), 2 or 3; `number` is like `3.2.1`, or empty where headings are not counted."""

    level: int
    text: str
    number: str = ""

    @property
    def label(self) -> str:
        """The heading as it is printed: its number, if it has one, and its text."""
        return f"{self.number}  {self.text}" if self.number else self.text


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of running text."""

    text: str


@dataclass(frozen=True)
class Caution:
    """A warning box, led by its signal word (`DANGER`, `WARNING`, `CAUTION`, `NOTICE`)."""

    word: str
    text: str


@dataclass(frozen=True)
class Listing:
    """A bulleted or a numbered list."""

    items: tuple[str, ...]
    numbered: bool


@dataclass(frozen=True)
class Table:
    """A table: the first row is its head; all rows are equally long."""

    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Caution | Listing | Table


def _text(node: SyntaxTreeNode) -> str:
    return "".join(inline.content for inline in node.walk() if inline.type == "inline").replace("\n", " ")


def _block(node: SyntaxTreeNode) -> Block:
    match node.type:
        case "heading":
            return Heading(int(node.tag[1:]), _text(node))
        case "paragraph":
            return Paragraph(_text(node))
        case "blockquote":
            word, _, text = _text(node).partition(": ")
            return Caution(word, text)
        case "bullet_list" | "ordered_list":
            return Listing(tuple(_text(item) for item in node.children), numbered=node.type == "ordered_list")
        case "table":
            rows = (row for part in node.children for row in part.children)
            return Table(tuple(tuple(_text(cell) for cell in row.children) for row in rows))
        case other:
            raise ValueError(f"the sample sources have no {other} blocks")


def read(markdown: str) -> list[Block]:
    """Read Markdown into blocks; raises ValueError on a construct that the sources do not use."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [_block(node) for node in SyntaxTreeNode(tokens).children]


def numbered(blocks: list[Block]) -> list[Block]:
    """The same blocks with their headings counted: 1, 1.1, 1.1.1, 1.2 and so on."""
    counts = [0, 0, 0]
    out: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading):
            counts[block.level - 1] += 1
            counts[block.level :] = [0] * (3 - block.level)
            out.append(Heading(block.level, block.text, ".".join(map(str, counts[: block.level]))))
        else:
            out.append(block)
    return out
