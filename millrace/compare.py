"""How alike two generations of the index answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, quantiles

from db.generations import Generation
from db.pool import DatabaseSettings, close, connect
from db.search import Mode, search
from engine.embed import EmbedderSettings
from engine.embedders import create_embedder
from schemas.events import SearchFilters

DEPTH = 10
"""Documents that are compared, by their best chunk: chunks of two chunkers cannot be."""
PERSISTENCE = 0.9
"""Of the reader in rank-biased overlap: who has read one result reads the next with this probability."""

Question = tuple[str, str]
"""A tenant, and what to search for in it."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a generation answered: for each question its documents, best first, and how long it took."""

    found: Sequence[Sequence[str]]
    took_ms: Sequence[float]

    def percentile_ms(self, percent: int) -> float:
        """So many percent of the answers took no longer."""
        if len(self.took_ms) < 2:
            return max(self.took_ms, default=0.0)
        return quantiles(self.took_ms, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two generations on the same questions; ``overlap`` and ``rank_biased_overlap`` are means, from 0 to 1."""

    questions: int
    overlap: float
    rank_biased_overlap: float
    live: Course
    other: Course


async def compare(
    database: DatabaseSettings, live: Generation, other: Generation, questions: Sequence[Question]
) -> Comparison:
    """Ask both generations the same, as the gateway would: the question's vector counts in their time."""
    courses = [await _ask(database, generation, questions) for generation in (live, other)]
    pairs = list(zip(courses[0].found, courses[1].found, strict=True))
    return Comparison(
        len(questions),
        mean(overlap(*pair) for pair in pairs) if pairs else 1.0,
        mean(rank_biased_overlap(*pair) for pair in pairs) if pairs else 1.0,
        *courses,
    )


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """What part of the longer answer both have; 1 for two that are empty."""
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], persistence: float = PERSISTENCE) -> float:
    """How alike two rankings without repetitions are, the first ranks weighing most (Webber et al., 2010).

    Extrapolated: as if the agreement at the end of the longer one went on. From 0 (nothing in common) to 1 (the same).
    """
    depth = max(len(one), len(other))
    if not depth:
        return 1.0
    agreements = [len(set(one[:rank]) & set(other[:rank])) / rank for rank in range(1, depth + 1)]
    seen = sum(agreement * persistence**rank for rank, agreement in enumerate(agreements, 1))
    return agreements[-1] * persistence**depth + (1 - persistence) / persistence * seen


async def _ask(database: DatabaseSettings, generation: Generation, questions: Sequence[Question]) -> Course:
    pool = await connect(database, generation.number)
    embedder = create_embedder(EmbedderSettings(**generation.embedder))
    found, took_ms = [], []
    try:
        # The first question warms up what a running gateway has warm, and is asked again.
        for number, (tenant_id, question) in enumerate([*questions[:1], *questions]):
            began = time.perf_counter()
            [vector] = await embedder.embed([question])
            rows = await search(
                pool,
                tenant_id,
                question,
                vector,
                embedder.name,
                mode=Mode.HYBRID,
                filters=SearchFilters(),
                limit=DEPTH,
                hits_per_document=1,
            )
            if number:
                took_ms.append((time.perf_counter() - began) * 1_000)
                found.append([row["document_id"] for row in rows])
    finally:
        await embedder.aclose()
        await close(pool)
    return Course(found, took_ms)
