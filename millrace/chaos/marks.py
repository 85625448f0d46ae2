"""Marks: words that tell which paragraph of which version of whose document a text is from."""

import random
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

WORDS_PER_PARAGRAPH = 36
"""With the mark about 50 tokens: a chunk of at most 256 holds a few paragraphs, and an edit leaves the others alone."""

TEXTS_REMEMBERED_MAX = 65_536
"""Most reads show what others showed before: looking for the marks anew takes half of the checker's time."""

_MARK = re.compile(r"\bmarkt(\d+)d(\d+)v(\d+)p(\d+)\b")
_WORDS = (  # noqa: SIM905
    "river stone mill wheel grain sluice pond miller flour shaft hopper gear lantern bolt plank rope weir bucket sack "
    "barn dust bearing cog spindle brake timber iron rust lever crank pulley chute sieve bran husk trough paddle gate "
    "turns grinds lifts stops opens closes carries leaks holds breaks runs slips old yellow heavy loose dry wet quick"
).split()


class Mark(NamedTuple):
    """A paragraph of a version of a document of a tenant, each by its number."""

    tenant: int
    document: int
    version: int
    paragraph: int

    def __str__(self) -> str:
        """One word for every tokenizer, so that a text search for it finds this paragraph alone."""
        return f"markt{self.tenant}d{self.document}v{self.version}p{self.paragraph}"


@lru_cache(maxsize=TEXTS_REMEMBERED_MAX)
def marks_in(text: str) -> tuple[Mark, ...]:
    """The marks in a text, in order."""
    return tuple(Mark(*map(int, found)) for found in _MARK.findall(text))


def paragraph(mark: Mark) -> str:
    """The paragraph of a mark, always the same."""
    words = random.Random(str(mark)).choices(_WORDS, k=WORDS_PER_PARAGRAPH)  # noqa: S311
    return f"{mark} {' '.join(words)}."


def paragraphs(tenant: int, document: int, versions: Sequence[int]) -> list[str]:
    """A document's paragraphs, each from the version in which it last changed."""
    return [paragraph(Mark(tenant, document, version, number)) for number, version in enumerate(versions)]
