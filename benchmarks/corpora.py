"""Synthetic corpora: the same documents on every machine, at any size, made faster than anything can index them.

Words are real English ones at their real frequencies (Zipf's law), so tokens and full-text statistics are lifelike.
Each document mixes a few of 200 topics, each of which has words of its own (as in latent Dirichlet allocation, Blei et
al., 2003), so that vectors cluster and a question has near neighbours. Text is Markdown: headings, paragraphs,
sentences.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import wordfreq
from numpy.typing import NDArray

from engine.tokens import load_tokenizer

SIZES = {"3k": 3_000, "10k": 10_000, "100k": 100_000, "1m": 1_000_000}
"""Chunks that Millrace's chunker makes of a corpus with its default settings (256 tokens, overlap 32), within 2 %."""
SEED = 20261125

WORDS = 30_000
COMMON_WORDS = 200
"""The most frequent words, which belong to no topic."""
TOPICS = 200
TOPICS_PER_DOCUMENT = 3
TOPIC_SPREAD = 2.5
"""Standard deviation of the logarithm by which a topic makes a word rarer or more frequent."""
TOPICAL_SHARE = 0.5
"""Of the words in a text: the others are spread as in English at large."""
CELLS = 1 << 16
"""Of a table from which words are drawn with one look: a word's cells are its share of the frequency."""

TOKENS_PER_CHUNK = 161.0
"""New tokens in each chunk, on average; `tests/benchmarks` holds the sizes against the chunker."""
MEDIAN_CHUNKS = 6
CHUNKS_SPREAD = 1.354
"""Standard deviation of the logarithm of a document's chunks: with it the mean is 15."""
CHUNKS_MAX = 500
COLLECTIONS = 10
QUESTIONS = 1_000
QUESTION_WORDS = 5
BLOCK_DOCUMENTS = 256

# A piece of text is a word in one of these forms, so that a text is nothing but its pieces joined.
PLAIN, COMMA, STOP, CAPITAL, PARAGRAPH, HEADING, FIRST = range(7)
FORMS = (" {}", " {},", " {}.", " {cap}", "\n\n{cap}", "\n\n## {cap}", "# {cap}")

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Document:
    """A line of documents.jsonl."""

    id: str
    title: str
    text: str
    collection: str


@dataclass
class Language:
    """Words, and the tables from which they are drawn."""

    seed: int
    words: list[str] = field(init=False)
    at_large: NDArray[np.uint16] = field(init=False)
    """(cells,): words by their frequency in English."""
    topics: NDArray[np.uint16] = field(init=False)
    """(topics, cells)."""

    def __post_init__(self) -> None:
        self.words = english()
        share = np.array([wordfreq.word_frequency(word, "en") for word in self.words])
        rng = np.random.default_rng(self.seed)
        self.at_large = _table(share)
        own = share * (np.arange(WORDS) >= COMMON_WORDS)
        self.topics = np.stack([_table(own * rng.lognormal(0, TOPIC_SPREAD, WORDS)) for _ in range(TOPICS)])

    @cached_property
    def pieces(self) -> NDArray[np.object_]:
        """(forms x words,): every word in every form."""
        made = [form.format(word, cap=word.capitalize()) for form in FORMS for word in self.words]
        return np.array(made, dtype=object)

    @cached_property
    def tokens(self) -> Ints:
        """(words,): how many tokens each is for the embedder."""
        encoded = load_tokenizer().encode_batch_fast(self.words, add_special_tokens=False)
        return np.array([len(each.ids) for each in encoded])


def _table(weights: NDArray[np.float64]) -> NDArray[np.uint16]:
    cumulative = np.cumsum(weights) / weights.sum()
    return np.searchsorted(cumulative, (np.arange(CELLS) + 0.5) / CELLS).astype(np.uint16)


def documents(chunks: int) -> Iterator[Document]:
    """As many as give so many chunks, within 2 %."""
    language = Language(SEED)
    rng = np.random.default_rng([SEED, chunks])
    budget_tokens = chunks * TOKENS_PER_CHUNK
    number = 0
    while budget_tokens > 0:
        sizes = rng.lognormal(np.log(MEDIAN_CHUNKS), CHUNKS_SPREAD, BLOCK_DOCUMENTS).clip(0.3, CHUNKS_MAX)
        wanted = sizes * TOKENS_PER_CHUNK
        wanted = wanted[np.cumsum(wanted) - wanted < budget_tokens]
        wanted[-1] = min(wanted[-1], max(1.0, budget_tokens - wanted[:-1].sum()))
        for words, forms in _block(language, rng, wanted):
            budget_tokens -= int(language.tokens[words].sum())
            text = "".join(language.pieces[words + forms * WORDS])
            title = text[2 : text.index("\n")]
            yield Document(f"doc-{number:07}", title, text, f"collection-{_collection(rng)}")
            number += 1


def _collection(rng: np.random.Generator) -> int:
    """Skewed: the first has a third of all documents, the last a thirtieth."""
    weights = 1 / np.arange(1, COLLECTIONS + 1)
    return int(rng.choice(COLLECTIONS, p=weights / weights.sum()))


def _block(
    language: Language, rng: np.random.Generator, wanted_tokens: NDArray[np.float64]
) -> Iterator[tuple[Ints, Ints]]:
    """Words and forms of documents of about so many tokens each, made at once."""
    mean_tokens = float(language.tokens[language.at_large].mean())
    sentences = np.maximum(1, np.rint(wanted_tokens / (17.5 * mean_tokens))).astype(np.int64)
    first = np.zeros(sentences.sum(), bool)
    first[np.cumsum(sentences) - sentences] = True
    of_document = np.repeat(np.arange(len(sentences)), sentences)

    # Paragraphs of 5 sentences, sections of 7 paragraphs, on average. A section's heading is a sentence before it.
    opens_section = (rng.random(len(first)) < 1 / 35) | first
    opens_paragraph = (rng.random(len(first)) < 1 / 5) | opens_section
    places = np.flatnonzero(opens_section)
    is_heading = np.insert(np.zeros(len(first), bool), places, values=True)
    is_first = np.insert(np.zeros(len(first), bool), places, first[places])
    opens_paragraph = np.insert(opens_paragraph, places, values=False)
    of_document = np.insert(of_document, places, of_document[places])
    lengths = rng.lognormal(np.log(16), 0.45, len(is_heading)).astype(np.int64).clip(4, 50)
    lengths[is_heading] = rng.integers(2, 6, is_heading.sum())

    mixture = rng.integers(0, TOPICS, (len(sentences), TOPICS_PER_DOCUMENT))
    # The first topic has half of a document's paragraphs.
    chosen = rng.choice(TOPICS_PER_DOCUMENT, len(lengths), p=[0.5, 0.3, 0.2])
    paragraph = np.cumsum(opens_paragraph | is_heading) - 1
    topic = mixture[of_document, chosen[paragraph]]

    total = int(lengths.sum())
    cells = rng.integers(0, CELLS, total, dtype=np.uint16)
    topical = rng.random(total, dtype=np.float32) < TOPICAL_SHARE
    topical |= np.repeat(is_heading, lengths)
    words = language.at_large[cells].astype(np.int64)
    words[topical] = language.topics[np.repeat(topic, lengths)[topical], cells[topical]]

    has_comma = (rng.random(total, dtype=np.float32) < 0.05) & ~np.repeat(is_heading, lengths)
    forms = np.where(has_comma, COMMA, PLAIN)
    starts = np.cumsum(lengths) - lengths
    ends = starts + lengths - 1
    forms[ends] = np.where(is_heading, PLAIN, STOP)
    forms[starts] = np.select([is_first, is_heading, opens_paragraph], [FIRST, HEADING, PARAGRAPH], CAPITAL)

    borders = np.searchsorted(of_document, np.arange(1, len(sentences)))
    cuts = starts[borders]
    yield from zip(np.split(words, cuts), np.split(forms, cuts), strict=True)


def write(folder: Path, documents: Iterable[Document]) -> dict[str, Any]:
    """Write documents.jsonl, questions.jsonl and about.json, which comes last and says that the others are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    characters: list[int] = []
    texts: list[str] = []
    with (folder / "documents.jsonl").open("wb") as lines:
        for document in documents:
            lines.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
            characters.append(len(document.text))
            # Every document is as likely to be asked about (reservoir sampling).
            place = len(texts) if len(texts) < QUESTIONS else int(rng.integers(0, len(characters)))
            if place < QUESTIONS:
                texts[place : place + 1] = [document.text]
    with (folder / "questions.jsonl").open("wb") as lines:
        for number in range(QUESTIONS):
            question = {"id": f"question-{number:04}", "text": _question(rng, texts[number % len(texts)])}
            lines.write(orjson.dumps(question, option=orjson.OPT_APPEND_NEWLINE))
    about = {
        "documents": len(characters),
        "characters": sum(characters),
        "characters_of_documents_by_decile": [int(cut) for cut in np.quantile(characters, np.arange(11) / 10)],
    }
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    return about


def _question(rng: np.random.Generator, text: str) -> str:
    """Some words of one sentence, as somebody asks who remembers half of it."""
    lines = [line for line in re.split(r"[.\n]+", text) if not line.startswith("#")]
    sentences = [line for line in lines if len(re.findall("[A-Za-z]{2,}", line)) >= QUESTION_WORDS] or [text]
    words = re.findall("[a-z]+", sentences[rng.integers(0, len(sentences))].lower())
    told = [word for word in words if word not in common_words()] or words
    kept = sorted(rng.choice(len(told), min(len(told), QUESTION_WORDS), replace=False))
    return f"what about {' '.join(told[place] for place in kept)}"


@cache
def common_words() -> frozenset[str]:
    """Those that belong to no topic."""
    return frozenset(english()[:COMMON_WORDS])


@cache
def english() -> list[str]:
    """`WORDS` words, the most frequent first."""
    listed = wordfreq.top_n_list("en", 2 * WORDS)
    return [word for word in listed if word.isascii() and word.isalpha() and len(word) > 1][:WORDS]
