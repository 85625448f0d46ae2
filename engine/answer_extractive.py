"""The built-in answerer: it quotes the best sentences, offline."""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from engine.answer import NOTHING_FOUND, Passage, Turn
from engine.embed import Embedder
from engine.sentences import sentences, stems

# What begins a list item or a quotation in Markdown, and is no part of the sentence.
_BULLET = re.compile(r"^(?:[-*+>\u2022]|\d+[.)])\s+")
# A reference that the document itself makes would read as a marker of ours.
_REFERENCE = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence that may answer, and the number of its passage."""

    text: str
    number: int
    words: frozenset[str]
    context: frozenset[str]


class ExtractiveAnswerer:
    """Quotes the sentences nearest to the question, by their words and by their vectors."""

    SENTENCES_MAX = 3
    CANDIDATES_MAX = 400
    """A dozen passages; more would take the embedder longer than a reader wants to wait."""
    CHARS_MAX = 700
    """Longer than this it is a table or a list, which says little as a quotation."""
    WORD_WEIGHT = 0.6
    """Of the words that sentence and question share; the rest is for their vectors. Names and numbers decide most
    questions about documents, and static vectors know little of them."""
    SUPPORT_MIN = 0.25
    """Below this even the best sentence is about something else."""
    NEAR_BEST = 0.8
    """Further sentences have to support the answer nearly as well as the first."""
    ALIKE_MAX = 0.6
    """Two sentences with more of their words in common say the same."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: str, passages: Sequence[Passage], history: Sequence[Turn]) -> AsyncGenerator[str]:
        """See `Answerer`; one piece is one sentence."""
        question = _in_context(question, history)
        candidates = list(_candidates(passages, self.CHARS_MAX))[: self.CANDIDATES_MAX]
        scores = await self._scores(question, candidates) if candidates else []
        chosen = self._chosen(candidates, scores)
        for index, candidate in enumerate(chosen):
            yield f"{' ' if index else ''}{candidate.text} [{candidate.number}]"
        if not chosen:
            yield NOTHING_FOUND

    async def aclose(self) -> None:
        """See `Answerer`; the embedder is its maker's to close."""

    def _chosen(self, candidates: Sequence[_Candidate], scores: Sequence[float]) -> list[_Candidate]:
        ranked = sorted(range(len(candidates)), key=lambda index: -scores[index])
        if not ranked or scores[ranked[0]] < self.SUPPORT_MIN:
            return []
        best = ranked[0]
        # The sentence behind the best one often says what the best one only speaks of.
        after = (
            [best + 1] if best + 1 < len(candidates) and candidates[best + 1].number == candidates[best].number else []
        )
        near = [index for index in ranked[1:] if scores[index] >= max(self.SUPPORT_MIN, self.NEAR_BEST * scores[best])]
        chosen: list[_Candidate] = []
        for candidate in (candidates[index] for index in dict.fromkeys([best, *after, *near])):
            if all(_alike(candidate.words, other.words) <= self.ALIKE_MAX for other in chosen):
                chosen.append(candidate)
        return chosen[: self.SENTENCES_MAX]

    async def _scores(self, question: str, candidates: Sequence[_Candidate]) -> list[float]:
        vectors = (await self._embedder.embed([question, *(candidate.text for candidate in candidates)])).astype(float)
        near = vectors[1:] @ vectors[0]
        asked = stems(question)
        # A word that stands in every sentence tells them apart no better than none.
        seen = Counter(chain.from_iterable(candidate.words for candidate in candidates))
        weight = {word: 1 + math.log(len(candidates) / max(1, seen[word])) for word in asked}
        total = sum(weight.values()) or 1.0
        # What only the headings or the sentence before it say counts half: it is about that, but does not name it.
        shared = [
            sum(weight[word] * (1.0 if word in candidate.words else 0.5) for word in asked & candidate.context) / total
            for candidate in candidates
        ]
        # The passages come best first, so that of equals the better found one wins.
        order = np.array([0.02 / candidate.number for candidate in candidates])
        return list(self.WORD_WEIGHT * np.array(shared) + (1 - self.WORD_WEIGHT) * near + order)


def _in_context(question: str, history: Sequence[Turn]) -> str:
    """A question too short to stand alone ("And how often?") is asked together with the one before it."""
    before = [turn.text for turn in history if turn.role == "user"]
    return f"{before[-1]} {question}" if before and len(stems(question)) < 3 else question


def _candidates(passages: Sequence[Passage], chars_max: int) -> Iterator[_Candidate]:
    """The sentences of the passages, each once (neighbouring passages overlap), without headings and tables."""
    quoted: set[str] = set()
    for number, passage in enumerate(passages, start=1):
        headings = " \n ".join(" ".join(heading.split()) for heading in passage.heading_path)
        about = stems(" ".join((passage.title or "", *passage.heading_path)))
        before: frozenset[str] = frozenset()
        for start, end in sentences(passage.text):
            text = _BULLET.sub("", " ".join(passage.text[start:end].split()))
            text = _REFERENCE.sub(r"(\1)", text)
            words = stems(text)
            # A question, a heading or a line of contents is no answer, but what follows it may be.
            says = not text.endswith(("?", "\u2026")) and not text.startswith(("#", "|--")) and text not in headings
            if says and len(words) > 1 and len(text) <= chars_max and text not in quoted:
                quoted.add(text)
                yield _Candidate(text, number, words, words | about | before)
            before = words


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of words that two sentences have in common."""
    return len(one & other) / max(1, len(one | other))
