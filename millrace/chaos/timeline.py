"""What was written of one document, in the broker's order as far as its clients were told."""

from bisect import bisect_right
from dataclasses import dataclass, field
from math import inf
from typing import Any

Versions = tuple[int, ...]
"""Of a document's paragraphs: with its number, each paragraph's version tells its mark."""

SUBMISSIONS = {"put", "edit", "kafka_put"}
REMOVALS = {"delete", "kafka_delete"}
REPEATS = {"retry", "reprocess"}
WRITES = SUBMISSIONS | REMOVALS | REPEATS | {"cancel"}


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was done, or of which nobody knows; ``revision`` is None then."""

    index: int
    kind: str
    start: float
    revision: int | None
    versions: Versions
    poison: bool

    @classmethod
    def of(cls, line: dict[str, Any]) -> "Write":
        """From a line of the history."""
        arguments = line["arguments"]
        return cls(
            line["index"],
            line["kind"],
            line["start"],
            line["response"]["revision"] if line["outcome"] == "ok" else None,
            tuple(arguments.get("versions", ())),
            arguments.get("poison", False),
        )


@dataclass(slots=True)
class Told:
    """A state that somebody was told of a revision."""

    index: int
    at: float
    error: str | None = None


@dataclass(slots=True)
class Timeline:
    """One document. `close` it once all its writes were added."""

    known: dict[int, Write] = field(default_factory=dict)
    """By revision; cancellations are not among them."""
    unknown: list[Write] = field(default_factory=list)
    told: dict[int, dict[str, Told]] = field(default_factory=dict)
    """The final states that were told of each revision."""
    letters: dict[int, int] = field(default_factory=dict)
    """Operation that showed a letter, by revision."""
    _cancellations: list[Write] = field(default_factory=list)
    _submissions: list[Versions] = field(default_factory=list)
    _first_submitted: dict[Versions, float] = field(default_factory=dict)
    _revisions: list[int] = field(default_factory=list)
    _removals: list[int] = field(default_factory=list)
    _first_start_behind: list[float] = field(default_factory=list)
    _possible: dict[int, list[Versions]] = field(default_factory=dict)

    def add(self, write: Write) -> None:
        """Take in a write that was not refused."""
        if write.kind in SUBMISSIONS:
            self._submissions.append(write.versions)
            self._first_submitted[write.versions] = min(write.start, self._first_submitted.get(write.versions, inf))
        if write.kind == "cancel":
            self._cancellations.append(write)
        elif write.revision is None:
            self.unknown.append(write)
        else:
            self.known[write.revision] = write

    def close(self) -> None:
        """Bring them into order."""
        self._revisions = sorted(self.known)
        self._removals = [each for each in self._revisions if self.known[each].kind in REMOVALS]
        first, starts = inf, []
        for revision in reversed(self._revisions):
            starts.append(first)
            first = min(first, self.known[revision].start)
        self._first_start_behind = starts[::-1]

    def newest_before(self, moment: float) -> int:
        """The newest acknowledged revision whose write began before a moment; 0 if there is none."""
        return next((each for each in reversed(self._revisions) if self.known[each].start < moment), 0)

    def between(self, lowest: int, highest: int) -> list[Write]:
        """The acknowledged writes whose revisions lie strictly between the two."""
        first, last = bisect_right(self._revisions, lowest), bisect_right(self._revisions, highest - 1)
        return [self.known[revision] for revision in self._revisions[first:last]]

    def removed_up_to(self, revision: int) -> int:
        """The last acknowledged removal at or before a revision; 0 if there is none."""
        place = bisect_right(self._removals, revision)
        return self._removals[place - 1] if place else 0

    def may_be_removed(self, revision: int, until: float) -> bool:
        """Whether a removal behind ``revision`` may have taken effect before ``until``."""
        later = self._removals[bisect_right(self._removals, revision) :]
        return any(self.known[each].start < until for each in later) or any(
            write.kind in REMOVALS and write.start < until for write in self.unknown
        )

    def may_have_moved_on(self, revision: int, until: float) -> bool:
        """Whether anything behind ``revision`` may have taken effect before ``until``."""
        place = bisect_right(self._revisions, revision) - 1
        behind = self._first_start_behind[place] if place >= 0 else -inf
        return (
            behind < until
            or any(write.start < until for write in self.unknown)
            or self.may_be_cancelled(revision, until)
        )

    def may_be_cancelled(self, revision: int, until: float = inf) -> bool:
        """Whether somebody may have cancelled a revision before ``until``."""
        return any(
            write.start < until and (write.revision is None or write.revision >= revision)
            for write in self._cancellations
        )

    def may_have_ended_unseen(self, revision: int, until: float = inf) -> bool:
        """Whether a revision may be done with and yet not be visible: failed, cancelled or overtaken."""
        told = self.told.get(revision, {})
        if "failed" in told or "cancelled" in told or revision in self.letters:
            return True
        write = self.known.get(revision)
        if write is None or write.poison or write.kind in REPEATS:
            return True
        return "indexed" not in told and self.may_be_cancelled(revision, until)

    def is_cancellation(self, revision: int) -> bool:
        """Whether a cancellation has this place."""
        return any(write.revision == revision for write in self._cancellations)

    def narrow(self, revision: int, paragraphs: dict[int, int], until: float) -> bool:
        """Take in that a revision shows these versions of these paragraphs; whether some submission can be it.

        What one read shows rules out what another one could: a revision has one content.
        """
        possible = self._possible.get(revision)
        if possible is None:
            possible = self._contents(revision, until)
        left = [
            versions
            for versions in possible
            if all(number < len(versions) and versions[number] == version for number, version in paragraphs.items())
        ]
        if left:
            self._possible[revision] = left
        return bool(left)

    def content(self, revision: int) -> Versions | None:
        """What a revision's content is; None where that is not certain."""
        possible = self._possible.get(revision) or self._contents(revision, inf)
        return possible[0] if len(set(possible)) == 1 else None

    def was_submitted(self, versions: Versions, until: float) -> bool:
        """Whether somebody submitted this content before ``until``."""
        return self._first_submitted.get(versions, inf) < until

    def revision_at_most(self, versions: Versions) -> float:
        """The newest revision that may have this content; infinite where one without an answer may, 0 if none can."""
        if any(write.kind in REPEATS for write in self.known.values()) or any(
            write.kind in REPEATS or write.versions == versions for write in self.unknown
        ):
            return inf
        return max((r for r, write in self.known.items() if write.versions == versions), default=0)

    def _contents(self, revision: int, until: float) -> list[Versions]:
        write = self.known.get(revision)
        if write and write.kind in SUBMISSIONS:
            return [write.versions]
        if write and write.kind in REMOVALS:
            return []
        if write or any(each.kind in REPEATS and each.start < until for each in self.unknown):
            return list(self._submissions)
        return [each.versions for each in self.unknown if each.kind in SUBMISSIONS and each.start < until]
