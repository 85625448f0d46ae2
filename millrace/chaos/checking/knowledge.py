"""What a history tells, gathered by document, for the checks that hold one answer against another."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from millrace.chaos.timeline import Timeline, Told, Versions, Write

FINAL = {"indexed", "failed", "cancelled", "deleted"}

Key = tuple[str, str]
"""Tenant and document."""
Span = tuple[int, int, str]
"""Start, end and text."""


@dataclass(slots=True)
class Sight:
    """What one read showed of one document."""

    index: int
    kind: str
    start: float
    end: float
    after: int | None
    """The revision of the write that it asked to see; None where it did not ask, or for another document's."""
    visible: float | None
    """The revision that readers see; None where there is none. Where ``exact`` is false it is at most that."""
    exact: bool = True
    newest: int | None = None
    state: str | None = None
    error: str | None = None
    chunks_total: int | None = None
    settled: bool = False
    """Whether all clients had paused and all faults were healed."""


@dataclass(slots=True)
class Knowledge:
    """All of it."""

    timelines: defaultdict[Key, Timeline] = field(default_factory=lambda: defaultdict(Timeline))
    sights: dict[Key, list[Sight]] = field(default_factory=dict)
    spans: dict[tuple[Key, int], dict[Span, tuple[int, str]]] = field(default_factory=dict)
    """What stands where in a revision, with the operation that showed it and whether as a chunk or as a citation."""
    contents: dict[tuple[Key, Versions], tuple[str, int]] = field(default_factory=dict)
    """Whole texts, with the operation that showed each."""
    unexplained: dict[Key, dict[int, int]] = field(default_factory=dict)
    """Revisions that nobody was told of when writing, with the operation that showed each."""

    def timeline(self, key: Key) -> Timeline:
        """A document's."""
        return self.timelines[key]

    def add_write(self, line: dict[str, Any]) -> None:
        """Take in a write that was not refused."""
        self.timeline((line["tenant"], line["document_id"])).add(Write.of(line))

    def close(self) -> None:
        """All writes are there."""
        for timeline in self.timelines.values():
            timeline.close()

    def add_sight(self, key: Key, sight: Sight) -> None:
        """Take in what a read showed of a document."""
        self.sights.setdefault(key, []).append(sight)
        if sight.newest is not None and sight.state in FINAL:
            self.add_told(key, sight.newest, sight.state, Told(sight.index, sight.end, sight.error))
        for revision in (sight.newest, int(sight.visible) if sight.exact and sight.visible else None):
            if revision is not None and revision not in self.timeline(key).known:
                self.unexplained.setdefault(key, {}).setdefault(revision, sight.index)

    def add_told(self, key: Key, revision: int, state: str, told: Told) -> None:
        """Take in a final state of a revision."""
        self.timeline(key).told.setdefault(revision, {}).setdefault(state, told)
