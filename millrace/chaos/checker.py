"""The checker: reads a history and says which promises it breaks. It knows the promises, and nothing of the product.

As Jepsen's set checker it goes by what clients were told: what was acknowledged must be seen by every read that asks
for it, what was refused never, and what nobody knows may be seen or not. As Kafka Streams' exactly-once test it also
counts, once all has settled, what is stored, and holds each value against what the inputs can have made. The kinds of
violations:

- ``lost``: acknowledged, settled, and neither visible nor failed with its letter nor cancelled nor replaced.
- ``both``: an end that excludes another one: visible, and failed, cancelled or in a letter.
- ``doubled``: a chunk, a row or a message twice; one question answered twice, differently.
- ``orphaned``: rows or blobs, after all has settled, of what is not visible and cannot become so.
- ``mixed``: one answer from two revisions; a revision with what nobody submitted as such; a text that is not the
  content's at its place.
- ``stale``: a read with the position of a write shows less than that write. Without a position the promises name no
  bound, so that a client may see less than it saw before; yet nothing may be further behind than `STALE_BOUND_S`.
- ``resurrected``: what was deleted is seen by a read that asks for the deletion, or after that bound.
- ``foreign``: another tenant's text.
- ``stuck``: not final at the deadline.
- ``citation``: a quote that is not the document's text at its place.
- ``stream``: pieces of an answer out of order.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from millrace.chaos import history
from millrace.chaos.checking import answers, conversations, ends, order, storage
from millrace.chaos.checking.knowledge import Knowledge
from millrace.chaos.timeline import WRITES
from millrace.chaos.violations import Report, Violation

__all__ = ["Report", "Violation", "check", "check_lines"]


def check(path: Path) -> Report:
    """Check a history."""
    return check_lines(history.read(path))


def check_lines(lines: Iterable[dict[str, Any]]) -> Report:
    """Check the lines of a history, in the order in which they were written."""
    report = Report()
    reads: list[dict[str, Any]] = []
    knowledge = Knowledge()
    for line in lines:
        if line.get("note") == "settled":
            for problem in line["stuck"]:
                report.add("stuck", problem, line["index"])
        elif "note" in line or line["outcome"] == "refused":
            continue
        elif line["kind"] in WRITES:
            knowledge.add_write(line)
            report.acknowledged += line["outcome"] == "ok"
        elif line["outcome"] == "ok" or "deltas" in line["response"]:
            reads.append(line)
            report.reads += 1
    knowledge.close()
    # All answers are looked into before any is held against the others: what one tells explains another one.
    for line in reads:
        answers.look_into(line, knowledge, report)
    for checks in (order, ends, conversations, storage):
        checks.check(reads, knowledge, report)
    return report
