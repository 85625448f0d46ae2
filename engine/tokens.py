"""How long a text is for an embedding model: counting the tokens of the bundled Llama 2 vocabulary."""

import importlib.util
import re
from functools import cache, lru_cache
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import Replace

WORDS_CACHED_MAX = 65_536
"""Some ten megabytes; the words of a large document and then some."""

LINES_CACHED_MAX = 4_096
LINE_CHARS_MAX = 512
"""Longer lines are paragraphs, which come whole only once; with this bound the lines take a few megabytes."""

# No token of the vocabulary has a space anywhere but in front, so a text has as many tokens as its words have. What
# stands without a space for more than 64 characters (Chinese, base64) is counted in pieces, which may add one for each.
_WORDS = re.compile(r" *[^ \n]{1,64}| *\n+| +")


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


def count_tokens(text: str) -> int:
    """The number of tokens in a text, as `load_tokenizer` makes them without special tokens."""
    if not text:
        return 0
    # The tokenizer puts a space in front of every text.
    lines = f" {text}".splitlines(keepends=True)
    return sum(_count_line(line) if len(line) <= LINE_CHARS_MAX else _count_words(line) for line in lines)


def _count_words(text: str) -> int:
    return sum(map(_count_word, _WORDS.findall(text)))


# A chunk is counted a dozen times while it grows, line by line and word by word.
_count_line = lru_cache(maxsize=LINES_CACHED_MAX)(_count_words)


@lru_cache(maxsize=WORDS_CACHED_MAX)
def _count_word(word: str) -> int:
    return len(_word_tokenizer().encode(word, add_special_tokens=False).ids)


@cache
def _word_tokenizer() -> Tokenizer:
    tokenizer = load_tokenizer()
    # As it is but for the space in front: a word inside a text has its own, or none after a line break.
    tokenizer.normalizer = Replace(" ", "▁")
    return tokenizer
