"""Where sentences begin and end, and which words they have: enough to quote and to compare, in any language."""

import re
from collections.abc import Iterator

from engine.wrap import soften

# A sentence ends with its mark and what closes around it, before white space (Chinese and Japanese need none), or with
# the line, unless that is wrapped. Splitters that know languages bring models or lists for each; a wrong border here
# makes a citation a little longer or shorter, never false, since it is always cut from the text.
_BORDER = re.compile(r"""[.!?\u2026]+["'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f]?|\n""")
# Points inside a sentence: initials, the number before a heading, and short forms before a name or a number.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[^\W\d_]|e\.g|i\.e|z\.B|d\.h|cf|vs|etc|ca|approx|Dr|Mr|Mrs|Ms|Prof|St|No|Nr|Fig|Abb|Tab|Sec|Ch|pp?)$"
    r"|(?:^|\n)[ \t]*[\d.]*\d$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")

# What questions are made of whatever they are about.
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about all an and any are as at be been but by can could did do does done for from had has have he her
        his how i if in into is it its many me much must my no not of on one or our say says shall she should so
        some such tell than that the their them then there these they this those to us was we were what when
        where which who whom whose why will with would you your
        """,
    )
)
STEM_CHARS = 6
"""'inspect', 'inspected' and 'inspection' begin alike; so do the forms of most longer words in European languages."""


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The (start, end) of each sentence in ``text``, without white space around it."""
    text = soften(text)
    start = 0
    for border in _BORDER.finditer(text):
        if border[0].startswith(".") and (
            _ABBREVIATION.search(text, max(start, border.start() - 12), border.start())
            or text[border.end() :].lstrip()[:1].islower()
        ):
            continue
        yield from _trimmed(text, start, border.end())
        start = border.end()
    yield from _trimmed(text, start, len(text))


def stems(text: str) -> frozenset[str]:
    """The words that carry what a text is about, cut to their stems."""
    words = _WORD.findall(text.casefold())
    return frozenset(
        (word.removesuffix("s") if len(word) > 3 else word)[:STEM_CHARS]
        for word in words
        if word not in _FUNCTION_WORDS
    )


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    sentence = text[start:end]
    left = len(sentence) - len(sentence.lstrip())
    right = len(sentence.rstrip())
    if left < right:
        yield start + left, start + right
