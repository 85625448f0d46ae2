"""Line breaks inside sentences: text files are often wrapped by hand or by an editor."""

import re

SOFT_BREAK = "\v"
"""White space that ends no line, as long as what it stands for; parsed text never has it."""
WIDTH_MIN = 40
WIDTH_MAX = 140
"""Nobody wraps narrower or wider than this; other lines are rows, verses or whole paragraphs."""
SMALL_SHARE = 0.4
"""Two in three words of German prose are small, and nearly all of English."""

# What begins a new thing whatever the line above looks like: list items, tables, headings, quotations, clauses.
_BEGINS = re.compile(r"\s*(?:[-*+•|#>=~`]|\(?\w{1,3}[.)]\s)|\s*$")


def soften(text: str) -> str:
    """The same text, character for character, with `SOFT_BREAK` for the line breaks that only wrap a paragraph.

    A paragraph is taken to be wrapped where many of its lines go on with a small letter, as prose does, even in German,
    and the rows of a table hardly ever do.
    """
    lines = text.split("\n")
    if len(lines) == 1:
        return text
    breaks: list[str] = []
    block: list[str] = [lines[0]]
    for line in lines[1:]:
        if _BEGINS.match(line) or not block[-1].strip():
            breaks += [_break(block)] * (len(block) - 1) + ["\n"]
            block = [line]
        else:
            block.append(line)
    breaks += [_break(block)] * (len(block) - 1)
    return "".join(part for pair in zip(lines, [*breaks, ""], strict=True) for part in pair)


def _break(block: list[str]) -> str:
    followers = [line.lstrip()[0] for line in block[1:]]
    wide = WIDTH_MIN <= max(map(len, block)) <= WIDTH_MAX
    return SOFT_BREAK if wide and sum(map(str.islower, followers)) >= SMALL_SHARE * len(followers) else "\n"
