"""Cite: the markers of an answer become citations that quote the document to the character."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.answer import Passage
from engine.sentences import sentences, stems
from schemas.events import Citation

_MARKER = re.compile(r"[ \t]*\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
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


def settled(answer: str) -> str:
    """The beginning of an unfinished answer that `cite` will not read differently once more has come."""
    return _OPEN_MARKER.sub("", answer)


def cite(answer: str, question: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """Resolve the markers [n] of an answer, n counting ``passages`` from 1.

    Gives the answer with its markers numbered from 1 in the order in which their citations first come, and the
    citations. A marker of a passage that does not exist is taken out. Each citation quotes what the answer says, if it
    says it in the passage's own words, or else the passage's sentence that is nearest to it.
    """
    numbers: dict[tuple[str, int, int, int], int] = {}
    citations: list[Citation] = []
    written: list[str] = []
    claim_start = position = 0
    for marker in _MARKER.finditer(answer):
        between = answer[position : marker.start()]
        written.append(between)
        if between.strip(_AROUND):
            claim_start = position
        position = marker.end()
        claim = _MARKER.sub("", answer[claim_start : marker.start()])
        resolved: list[int] = []
        for index in map(int, re.findall(r"\d+", marker[1])):
            span = _resolve(claim, question, passages[index - 1]) if 1 <= index <= len(passages) else None
            if span is None:
                continue
            if span.key not in numbers:
                numbers[span.key] = len(citations) + 1
                citations.append(_citation(span, len(citations) + 1))
            resolved.append(numbers[span.key])
        if resolved:
            space = marker[0][: marker[0].index("[")]
            written.append(space + "".join(f"[{number}]" for number in dict.fromkeys(resolved)))
    written.append(answer[position:])
    return "".join(written), tuple(citations)


def _citation(span: _Span, number: int) -> Citation:
    passage = span.passage
    return Citation(
        number=number,
        document_id=passage.document_id,
        revision=passage.revision,
        title=passage.title,
        filename=passage.filename,
        page=passage.page,
        heading_path=passage.heading_path,
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
