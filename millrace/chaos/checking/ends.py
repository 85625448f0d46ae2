"""How each revision ended: visible, failed with a letter, cancelled, replaced or deleted, and never two of these."""

from collections.abc import Iterator
from typing import Any

from millrace.chaos.checking.knowledge import FINAL, Key, Knowledge, Sight, Span
from millrace.chaos.timeline import REMOVALS, REPEATS, SUBMISSIONS, Timeline
from millrace.chaos.violations import Report

LETTER_GRACE_S = 30.0
"""A worker that was killed between a failure and its letter sends the letter soon after it was started again."""


def check(reads: list[dict[str, Any]], knowledge: Knowledge, report: Report) -> None:
    """Check the ends of all revisions, and that each shows its own text at every place."""
    observed = max((line["start"] for line in reads if line["kind"] == "observe"), default=None)
    for key, timeline in knowledge.timelines.items():
        sights = knowledge.sights.get(key, [])
        seen = {int(sight.visible): sight.index for sight in reversed(sights) if sight.visible and sight.exact}
        _check_exclusive(key, seen, timeline, report)
        for sight in sights:
            if sight.settled and sight.kind == "status":
                _check_settled(key, sight, timeline, report)
        if observed is not None:
            _check_letters(key, observed, timeline, report)
        unexplained = knowledge.unexplained.get(key, {})
        _check_explained(key, unexplained, timeline, report)
    _check_texts(knowledge, report)


def _check_exclusive(key: Key, seen: dict[int, int], timeline: Timeline, report: Report) -> None:
    ends: dict[int, dict[str, int]] = {}
    for revision, told in timeline.told.items():
        ends.setdefault(revision, {}).update({state: each.index for state, each in told.items()})
    for revision, index in timeline.letters.items():
        ends.setdefault(revision, {})["failed"] = index
    for revision, index in seen.items():
        ends.setdefault(revision, {})["indexed"] = index
    for revision, each in sorted(ends.items()):
        if len(each) > 1:
            report.add("both", f"revision {revision} of {_name(key)} is {' and '.join(sorted(each))}", *each.values())


def _check_settled(key: Key, sight: Sight, timeline: Timeline, report: Report) -> None:
    """Once all has settled every acknowledged write has an end that somebody can see."""
    name, newest = _name(key), sight.newest or 0
    if (awaited := timeline.newest_before(sight.start)) > newest:
        report.add("lost", f"{name} settled at {newest}, before {awaited}", timeline.known[awaited].index, sight.index)
        return
    if sight.state not in FINAL:
        return  # the settler says that it is stuck
    visible = int(sight.visible or 0)
    write = timeline.known.get(newest)
    indexes = [sight.index, *([write.index] if write else [])]
    if sight.state == "indexed" and visible != newest:
        report.add("lost", f"{name} is indexed at {newest}, and {visible or 'nothing'} is visible", *indexes)
    if sight.state == "deleted" and visible:
        report.add("resurrected", f"{name} is deleted at {newest}, and {visible} is visible", *indexes)
    if write and write.kind in REMOVALS and sight.state != "deleted":
        report.add("lost", f"{name} was deleted at {newest}, and is {sight.state}", *indexes)
    if write and write.kind in SUBMISSIONS | REPEATS and sight.state == "deleted":
        report.add("lost", f"{name} was submitted at {newest}, and is deleted", *indexes)
    if sight.state == "cancelled" and not _may_cancel(newest, sight, timeline):
        report.add("lost", f"{name} is cancelled at {newest}, and nobody asked for it", *indexes)
    if sight.state == "deleted":
        return
    ended = max(visible, timeline.removed_up_to(newest))
    for earlier in timeline.between(ended, newest):
        revision = earlier.revision or 0
        removed = timeline.may_be_removed(revision, sight.end)
        if earlier.kind in SUBMISSIONS and not removed and not timeline.may_have_ended_unseen(revision, sight.end):
            report.add(
                "lost",
                f"revision {revision} of {name} is neither visible nor failed nor cancelled, "
                f"and what came behind it is {sight.state}",
                earlier.index,
                sight.index,
            )


def _may_cancel(revision: int, sight: Sight, timeline: Timeline) -> bool:
    write = timeline.known.get(revision)
    return write is None or write.kind in REPEATS or timeline.may_be_cancelled(revision, sight.end)


def _check_letters(key: Key, observed: float, timeline: Timeline, report: Report) -> None:
    for revision, told in timeline.told.items():
        failed = told.get("failed")
        if failed and revision not in timeline.letters and failed.at < observed - LETTER_GRACE_S:
            report.add("lost", f"revision {revision} of {_name(key)} failed without a letter", failed.index)


def _check_explained(key: Key, unexplained: dict[int, int], timeline: Timeline, report: Report) -> None:
    """No more revisions than writes."""
    strange = {each: index for each, index in unexplained.items() if not timeline.is_cancellation(each)}
    if len(strange) > len(timeline.unknown):
        report.add(
            "doubled",
            f"{_name(key)} has revisions {sorted(strange)} beside the acknowledged ones, and "
            f"{len(timeline.unknown)} writes without an answer",
            *strange.values(),
        )


def _check_texts(knowledge: Knowledge, report: Report) -> None:
    for (key, revision), spans in knowledge.spans.items():
        versions = knowledge.timeline(key).content(revision)
        text, index = knowledge.contents.get((key, versions), (None, 0)) if versions is not None else (None, 0)
        if text is None:
            continue
        for span, (shown_by, kind) in _wrong(spans, text):
            violation = "citation" if kind == "citation" else "mixed"
            report.add(
                violation,
                f"a {kind} of revision {revision} of {_name(key)} from {span[0]} to {span[1]} is not its content there",
                index,
                shown_by,
            )


def _wrong(spans: dict[Span, tuple[int, str]], text: str) -> Iterator[tuple[Span, tuple[int, str]]]:
    for span, shown in spans.items():
        start, end, piece = span
        if text[start:end] != piece:
            yield span, shown


def _name(key: Key) -> str:
    return "/".join(key)
