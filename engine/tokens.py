"""How long a text is for an embedding model: counting the tokens of the bundled Llama 2 vocabulary."""

import importlib.util
import re
from functools import cache, lru_cache
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import Replace

WORDS_CACHED_MAX = 65_536
"""A few megabytes; the words of a large document and then some."""
WORD_CHARS_MAX = 64
"""Longer stretches without a space (Chinese, base64) hardly come twice, so they would only fill the cache."""

# No token of the vocabulary has a space anywhere but in front, so that a text has as many tokens as its words have.
_WORDS = re.compile(r" *[^ \n]+| *\n+| +")


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
    # The tokenizer puts a space in front of every text.
    return sum(map(_count, _WORDS.findall(f" {text}"))) if text else 0


def _count(word: str) -> int:
    return _encode(word) if len(word) > WORD_CHARS_MAX else _count_cached(word)


@lru_cache(maxsize=WORDS_CACHED_MAX)
def _count_cached(word: str) -> int:
    return _encode(word)


def _encode(word: str) -> int:
    return len(_word_tokenizer().encode(word, add_special_tokens=False).ids)


@cache
def _word_tokenizer() -> Tokenizer:
    tokenizer = load_tokenizer()
    # As it is but for the space in front: a word inside a text has its own, or none after a line break.
    tokenizer.normalizer = Replace(" ", "▁")
    return tokenizer
