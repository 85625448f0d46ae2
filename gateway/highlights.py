"""Where in a hit's text words of the query stand."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import Stemmer

_STEMMER = Stemmer.Stemmer("english")
_CHARACTER = r"[^\W_]"
STEMS_KEPT = 50_000
"""About 5 MB. A text's words are those of many others."""


class Highlighter:
    """Finds the words that have a stem in common with those of a query.

    Postgres' ts_headline parses and stems each text anew, which takes as long as to make its text vector.

    ``words``: those of the query that mean something.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._stems = {_stem(word.lower()) for word in words}
        # A word's stem begins as the word does, at least with the same letter.
        initials = "".join(re.escape(letter) for letter in {stem[0] for stem in self._stems})
        self._candidates = re.compile(
            rf"(?<!{_CHARACTER})[{initials}]{_CHARACTER}*" if initials else r"(?!)", re.IGNORECASE
        )

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of each, in characters."""
        for found in self._candidates.finditer(text):
            if _stem(found[0].lower()) in self._stems:
                yield found.span()


@lru_cache(maxsize=STEMS_KEPT)
def _stem(word: str) -> str:
    stem: str = _STEMMER.stemWord(word)
    return stem
