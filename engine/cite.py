"""Cite: the markers of an answer become citations that quote the document to the character."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.answer import Passage
from engine.sentences import sentences, stems
from schemas.events import Citation

# The space before it goes with it, and is only looked at from its beginning: a long one would take quadratic time.
_MARKER = re.compile(r"(?<![ \t])[ \t]*\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_OPEN_MARKER = re.compile(r"[ \t]*(?:\[[\d,\s]*)?$")
_QUOTED = re.compile('["\u201c\u201e\u00ab](.+?)["\u201d\u201c\u00bb]', re.DOTALL)
_AROUND = " \t\r\n\"'\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019()*_.,;:!?-"
_CLOSING = re.compile("[.!?\u2026\u3002]+[\"'\u201d\u2019)]*")
QUOTED_WORDS_MIN = 3
"""Fewer words may stand together in a passage by chance."""
QUESTION_WEIGHT = 0.25
"""The question decides between sentences that support the answer alike ("Yes [1].")."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of a passage's text."""

    passage: Passage
    start: int
    end: int

    @property
    def key(self) -> tuple[str, int, int, int]:
        """The same for two passages that overlap there."""
        offset = self.passage.start
        return self.passage.document_id, self.passage.revision, offset + self.start, offset + self.end


class Citer:
    """Resolves the markers [n] of an answer while it comes, n counting ``passages`` from 1.

    What it gives has its markers numbered from 1 in the order in which their citations first come. A marker of a
    passage that does not exist is taken out. Each citation quotes what the answer says, if it says it in the passage's
    own words, or else the passage's sentence that is nearest to it.
    """

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._question = question
        self._passages = passages
        self._answer = ""
        self._read_to = 0
        self._claim_start = 0
        self._last_marker_end = 0
        self._numbers: dict[tuple[str, int, int, int], int] = {}
        self._citations: list[Citation] = []

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Those of what was given so far."""
        return tuple(self._citations)

    def feed(self, piece: str) -> str:
        """Take the answer's next piece; gives what more of it is settled, without a marker that may still go on."""
        self._answer += piece
        unsettled = _OPEN_MARKER.search(self._answer, self._read_to)
        return self._read(unsettled.start() if unsettled else len(self._answer))

    def end(self) -> str:
        """What is left once the last piece has come."""
        return self._read(len(self._answer))

    def _read(self, end: int) -> str:
        written: list[str] = []
        for marker in _MARKER.finditer(self._answer, self._read_to, end):
            written.append(self._answer[self._read_to : marker.start()])
            self._read_to = marker.end()
            if self._answer[self._last_marker_end : marker.start()].strip(_AROUND):
                self._claim_start = self._last_marker_end
            self._last_marker_end = marker.end()
            claim = _MARKER.sub("", self._answer[self._claim_start : marker.start()])
            indexes = dict.fromkeys(map(int, re.findall(r"\d+", marker[1])))
            numbers = dict.fromkeys(number for index in indexes if (number := self._cite(claim, index)))
            if numbers:
                space = marker[0][: marker[0].index("[")]
                written.append(space + "".join(f"[{number}]" for number in numbers))
        written.append(self._answer[self._read_to : end])
        self._read_to = end
        return "".join(written)

    def _cite(self, claim: str, index: int) -> int | None:
        """The number of the citation that supports a claim with the passage ``index``; none if there is none."""
        span = _resolve(claim, self._question, self._passages[index - 1]) if 1 <= index <= len(self._passages) else None
        if span is None:
            return None
        if span.key not in self._numbers:
            self._numbers[span.key] = len(self._citations) + 1
            self._citations.append(_citation(span, len(self._citations) + 1))
        return self._numbers[span.key]


def cite(answer: str, question: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """A whole answer as `Citer` gives it, and its citations."""
    citer = Citer(question, passages)
    return citer.feed(answer) + citer.end(), citer.citations


def _citation(span: _Span, number: int) -> Citation:
    passage = span.passage
    place = passage.place(passage.start + span.start)
    return Citation(
        number=number,
        document_id=passage.document_id,
        revision=passage.revision,
        title=passage.title,
        filename=passage.filename,
        page=place.page,
        heading_path=place.heading_path,
        start=passage.start + span.start,
        end=passage.start + span.end,
        quote=passage.text[span.start : span.end],
    )


def _resolve(claim: str, question: str, passage: Passage) -> _Span | None:
    """What in the passage supports the claim; nothing where the passage is blank."""
    last = list(sentences(claim))[-1:]
    said = [*_QUOTED.findall(claim), claim, *(claim[start:end] for start, end in last)]
    for words in said:
        if found := _verbatim(words, passage.text):
            return _Span(passage, *found)
    wanted = stems(claim[last[0][0] : last[0][1]] if last else claim)
    asked = stems(question)

    def support(span: tuple[int, int]) -> float:
        words = stems(passage.text[slice(*span)])
        # Divided by length, so that the longest sentence does not win by having most words.
        return (len(words & wanted) + QUESTION_WEIGHT * len(words & asked)) / math.sqrt(max(1, len(words)))

    best = max(sentences(passage.text), key=support, default=None)
    return _Span(passage, *best) if best else None


def _verbatim(words: str, text: str) -> tuple[int, int] | None:
    """Where ``text`` has the very words, however they are spaced, with the mark that ends their sentence."""
    parts = words.strip(_AROUND).split()
    if len(parts) < QUOTED_WORDS_MIN:
        return None
    found = re.search(r"\s+".join(map(re.escape, parts)), text)
    if found is None:
        return None
    closing = _CLOSING.match(text, found.end())
    return found.start(), closing.end() if closing else found.end()
