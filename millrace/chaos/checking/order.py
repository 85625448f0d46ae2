"""Reads against writes: what must be seen by whom, from when on."""

from bisect import bisect_right
from typing import Any

from millrace.chaos.checking.knowledge import Key, Knowledge, Sight
from millrace.chaos.marks import marks_in
from millrace.chaos.timeline import REMOVALS, Timeline
from millrace.chaos.violations import Report

STALE_BOUND_S = 30.0
"""A read that asks for a position waits ten seconds at most until the tables have it: what another read showed so much
earlier is in them, whichever gateway is asked."""


def check(reads: list[dict[str, Any]], knowledge: Knowledge, report: Report) -> None:
    """Check that reads show the writes they ask for, and that nothing comes back or falls far behind."""
    for key, sights in knowledge.sights.items():
        timeline = knowledge.timeline(key)
        for sight in sights:
            if sight.after is not None:
                _check_asked(key, sight, sight.after, timeline, report)
            if sight.newest and sight.visible and sight.exact and sight.visible > sight.newest:
                report.add("mixed", f"{_name(key)} shows a revision behind its newest", sight.index)
        _check_bound(key, sights, timeline, report)
    for line in reads:
        if line["kind"] == "search":
            _check_found(line, knowledge, report)


def _check_asked(key: Key, sight: Sight, after: int, timeline: Timeline, report: Report) -> None:
    """A read that asks for a write shows it, or a later one."""
    write = timeline.known.get(after)
    if write is None:
        return
    told = f"{sight.kind} of {_name(key)} asked for revision {after} and shows"
    if sight.newest is not None and sight.newest < after:
        report.add("stale", f"{told} {sight.newest} as the newest", write.index, sight.index)
        return
    if sight.newest == after and sight.state not in {"indexed", "failed", "cancelled", "deleted"}:
        report.add("stale", f"{told} it as {sight.state}", write.index, sight.index)
        return
    if sight.kind == "status" and sight.newest is None:
        report.add("stale", f"{told} no document", write.index, sight.index)
        return
    if sight.visible is None:
        excused = write.kind in REMOVALS or timeline.may_be_removed(after, sight.end)
        if not excused and not timeline.may_have_ended_unseen(after, sight.end):
            report.add("stale", f"{told} nothing", write.index, sight.index)
    elif sight.visible <= (removed := timeline.removed_up_to(after)):
        report.add(
            "resurrected",
            f"{told} {sight.visible}, which the deletion {removed} had ended",
            timeline.known[removed].index,
            sight.index,
        )
    elif sight.visible < after and not timeline.may_have_ended_unseen(after, sight.end):
        report.add("stale", f"{told} {sight.visible}", write.index, sight.index)


def _check_bound(key: Key, sights: list[Sight], timeline: Timeline, report: Report) -> None:
    """Nobody is further behind than the bound what somebody was shown."""
    exact = sorted((sight for sight in sights if sight.exact), key=lambda sight: sight.end)
    ends = [sight.end for sight in exact]
    floors: list[tuple[float, float, int]] = []  # visible at least, deleted up to, shown by
    visible, deleted, index = 0.0, 0.0, 0
    for sight in exact:
        if sight.visible is not None and sight.visible > visible:
            visible, index = sight.visible, sight.index
        if sight.state == "deleted" and sight.newest is not None and sight.newest > deleted:
            deleted, index = float(sight.newest), sight.index
        floors.append((visible, deleted, index))
    for sight in sights:
        place = bisect_right(ends, sight.start - STALE_BOUND_S) - 1
        if place < 0:
            continue
        visible, deleted, index = floors[place]
        late = f"{sight.kind} of {_name(key)} shows {sight.visible} more than {STALE_BOUND_S:g} s after"
        if sight.visible is not None and sight.visible <= deleted:
            report.add("resurrected", f"{late} it was deleted at {deleted:.0f}", index, sight.index)
        elif sight.visible is not None and sight.visible < visible:
            report.add("stale", f"{late} {visible:.0f} was visible", index, sight.index)
        elif (
            sight.visible is None
            and visible > deleted
            and not timeline.may_be_removed(int(visible), sight.end)
            and sight.state != "deleted"
        ):
            report.add("lost", f"{late} {visible:.0f} was visible", index, sight.index)


def _check_found(line: dict[str, Any], knowledge: Knowledge, report: Report) -> None:
    """A search that asks for a write finds the mark of its own that it looks for, if nothing came in between."""
    after, marks = line["arguments"].get("after_revision"), marks_in(line["arguments"]["query"])
    timeline = knowledge.timeline((line["tenant"], line["document_id"]))
    write = timeline.known.get(after) if after else None
    if write is None or len(marks) != 1:
        return
    [mark] = marks
    if len(write.versions) <= mark.paragraph or write.versions[mark.paragraph] != mark.version:
        return
    if timeline.may_have_moved_on(after, line["end"]) or timeline.may_have_ended_unseen(after, line["end"]):
        return
    if not any(mark in marks_in(hit["text"]) for hit in line["response"]["hits"]):
        report.add("stale", f"a search that asked for revision {after} did not find {mark}", write.index, line["index"])


def _name(key: Key) -> str:
    return "/".join(key)
