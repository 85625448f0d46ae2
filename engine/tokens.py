"""How long a text is for an embedding model: its words, and their tokens in the bundled Llama 2 vocabulary.

No token of the vocabulary has a space anywhere but in front, and none has a line break beside anything else, so that a
text has the tokens that its words have. A text has few words that were not seen before, which makes looking them up
several times faster than making the tokens of the text.
"""

import importlib.util
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from tokenizers import Tokenizer
from tokenizers.models import Model

WORDS_CACHED_MAX = 65_536
"""The words of a large document and then some: ten megabytes, and sixty where somebody makes each of 64 emoji."""
WORD_CHARS_MAX = 65
"""With the space in front. What is longer is no word of any language that writes spaces, and does not come again."""
WINDOW_CHARS = 65_536
"""Of a text whose words are known at a time: a few megabytes, and a hundred times what a question spans."""

SPACE = "\u2581"
"""What a space is in the vocabulary; where a text has this sign, nobody can tell the two apart."""
WORDS = re.compile(rf"[ {SPACE}]*[^ {SPACE}\n]+|[ {SPACE}]*\n+|[ {SPACE}]+")
"""Finds every word of a text, with the space in front of it. The tokenizer puts a space in front of a text."""
_PIECES = re.compile(rf"[ {SPACE}]*[^ {SPACE}\n]{{1,64}}|[ {SPACE}]*\n+|[ {SPACE}]+")

T = TypeVar("T")


def wordllama_folder() -> Path:
    """Where the wordllama package keeps its weights and tokenizer."""
    # Found, not imported: importing it configures the root logger and costs 30 MB of memory for an HTTP client.
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("wordllama is not installed.", name="wordllama")
    return Path(spec.origin).parent


def load_tokenizer() -> Tokenizer:
    """The tokenizer of wordllama's vectors, without padding or truncation."""
    tokenizer = Tokenizer.from_file(str(wordllama_folder() / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class ByWord(dict[str, T]):
    """What ``make`` makes of each word, kept for the words that may come again."""

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: str) -> T:
        made = self._make(word)
        if len(word) <= WORD_CHARS_MAX:
            if len(self) >= WORDS_CACHED_MAX:
                self.clear()  # The frequent ones are back soon.
            self[word] = made
        return made


def count_tokens(text: str) -> int:
    """The number of tokens in a text, as `load_tokenizer` makes them without special tokens.

    What stands without a space for more than 64 characters (Chinese, base64) is counted in pieces, which may add one
    for each, and "<s>" and its like as the signs that they are.
    """
    return sum(map(_counts.__getitem__, WORDS.findall(f" {text}"))) if text else 0


class CountedText:
    """A text that knows how many tokens each stretch of it has, from counting its words once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._window(0, 0)

    def count(self, start: int, end: int) -> int:
        """``count_tokens(text[start:end])``; quick where questions go through the text from its start to its end."""
        if start >= end:
            return 0
        if start < self._starts[0] or end > self._starts[-1]:
            self._window(start, end)
        first = bisect_right(self._starts, start)
        last = bisect_right(self._starts, end) - 1
        if first > last:
            return _counts[f" {self._text[start:end]}"]
        # Either end may lie inside a word, and the first one stands behind the tokenizer's space.
        return (
            _counts[f" {self._text[start : self._starts[first]]}"]
            + self._tokens_before[last]
            - self._tokens_before[first]
            + (_counts[self._text[self._starts[last] : end]] if self._starts[last] < end else 0)
        )

    def _window(self, start: int, end: int) -> None:
        """Know the words of ``text[start:end]``, and some that follow."""
        words = WORDS.findall(self._text, start, max(end, start + WINDOW_CHARS))
        self._starts = list(accumulate(map(len, words), initial=start))
        self._tokens_before = list(accumulate(map(_counts.__getitem__, words), initial=0))


def _count(word: str) -> int:
    pieces = _PIECES.findall(word)
    if len(pieces) > 1:
        return sum(map(_counts.__getitem__, pieces))
    return len(_model().tokenize(word.replace(" ", SPACE)))


_counts = ByWord(_count)


@cache
def _model() -> Model:
    model: Model = load_tokenizer().model
    return model
