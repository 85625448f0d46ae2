"""What is stored once all has settled: the rows of what is visible, no others, and no blob that nobody needs."""

from typing import Any

from millrace.chaos.checking.knowledge import Key, Knowledge, Sight
from millrace.chaos.violations import Report

BLOB_GRACE_S = 60.0
"""Blobs go after the rows that named them; a process that was killed in between leaves them to a job that comes by."""


def check(reads: list[dict[str, Any]], knowledge: Knowledge, report: Report) -> None:
    """Check each observation against what had settled by then."""
    settled: dict[Key, Sight] = {}
    statuses = {
        sight.index: (key, sight)
        for key, sights in knowledge.sights.items()
        for sight in sights
        if sight.settled and sight.kind == "status"
    }
    submitted: dict[str, tuple[Key, int]] = {}
    for line in reads:
        if line["index"] in statuses:
            key, sight = statuses[line["index"]]
            settled[key] = sight
        elif line["kind"] == "observe":
            for each in line["response"]["submissions"]:
                if each["blob"]:
                    submitted[each["blob"]] = ((each["tenant"], each["document_id"]), each["revision"])
            still = {key: sight for key, sight in settled.items() if _is_still(key, sight, line, knowledge)}
            _check_rows(line, still, report)
            _check_blobs(line, still, submitted, knowledge, report)


def _is_still(key: Key, sight: Sight, line: dict[str, Any], knowledge: Knowledge) -> bool:
    """Whether nothing can have changed since it was seen settled."""
    timeline = knowledge.timeline(key)
    newest = timeline.newest_before(line["end"])
    late = newest and timeline.known[newest].start > sight.start
    return not late and sight.state in {"indexed", "failed", "cancelled", "deleted"} and not timeline.unknown


def _check_rows(line: dict[str, Any], settled: dict[Key, Sight], report: Report) -> None:
    present: dict[tuple[str, Key], set[int]] = {}
    for rows in line["response"]["rows"]:
        key, revision = (rows["tenant"], rows["document_id"]), rows["revision"]
        present.setdefault((rows["generation"], key), set()).add(revision)
        name = f"revision {revision} of {'/'.join(key)}"
        if rows["rows"] != rows["ordinals"]:
            report.add("doubled", f"{name} has {rows['rows']} rows of {rows['ordinals']} chunks", line["index"])
        sight = settled.get(key)
        if sight is None:
            continue
        if revision != sight.visible:
            report.add("orphaned", f"{rows['rows']} rows of {name} are stored, and it is not visible", line["index"])
        elif sight.state == "indexed" and rows["rows"] != sight.chunks_total:
            kind = "lost" if rows["rows"] < (sight.chunks_total or 0) else "doubled"
            report.add(kind, f"{name} has {rows['rows']} rows of {sight.chunks_total}", sight.index, line["index"])
    for generation in {each["generation"] for each in line["response"]["rows"]}:
        for key, sight in settled.items():
            has_rows = sight.visible in present.get((generation, key), set())
            if sight.state == "indexed" and sight.chunks_total and not has_rows:
                report.add("lost", f"{'/'.join(key)} is visible and has no rows", sight.index, line["index"])


def _check_blobs(
    line: dict[str, Any],
    settled: dict[Key, Sight],
    submitted: dict[str, tuple[Key, int]],
    knowledge: Knowledge,
    report: Report,
) -> None:
    """A blob is needed by the visible revision, by what may be tried again, and by what an open letter is about."""
    used = {key for each in line["response"]["documents"] for key in (each["blob_key"], each["text_key"]) if key}
    for blob in line["response"]["blobs"]:
        if blob in used:
            continue
        key, revision = submitted.get(blob) or _named(blob)
        sight = settled.get(key)
        if sight is None or line["start"] - sight.end < 0 or not _is_old(key, sight, line, knowledge):
            continue
        gone_up_to = sight.newest if sight.state in {"deleted", "indexed"} else sight.visible
        if revision < (gone_up_to or 0):
            report.add(
                "orphaned", f"blob {blob} of revision {revision} is needed by nobody", sight.index, line["index"]
            )


def _is_old(key: Key, sight: Sight, line: dict[str, Any], knowledge: Knowledge) -> bool:
    """Whether the revision that took the place of the others has been final for longer than the grace."""
    told = knowledge.timeline(key).told.get(sight.newest or 0, {}).get(sight.state or "")
    return told is not None and told.at < line["start"] - BLOB_GRACE_S


def _named(blob: str) -> tuple[Key, int]:
    """Some blobs are named by their document and revision; those of others nobody knows."""
    tenant, _, *rest = blob.split("/")
    if len(rest) >= 2 and rest[1].isdigit():
        return (tenant, rest[0]), int(rest[1])
    return (tenant, ""), 0
