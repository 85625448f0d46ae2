"""One answer by itself: whether it can be true of the revisions that it names, and what it tells about them."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from millrace.chaos.checking.knowledge import Key, Knowledge, Sight
from millrace.chaos.marks import Mark, marks_in
from millrace.chaos.timeline import Told
from millrace.chaos.violations import Report

Line = dict[str, Any]

SETTLER = "settler"


def look_into(line: Line, knowledge: Knowledge, report: Report) -> None:
    """Check a read's answer by itself, and add what it tells to what is known."""
    if look := _LOOKS.get(line["kind"]):
        look(line, knowledge, report)


def _status(line: Line, knowledge: Knowledge, _: Report) -> None:
    told = line["response"]
    knowledge.add_sight(_key(line), _sight(line, told.get("visible_revision"), told if told["found"] else None))


def _get(line: Line, knowledge: Knowledge, report: Report) -> None:
    told = line["response"]
    if not told["found"]:
        knowledge.add_sight(_key(line), _sight(line, None))
        return
    _document(line, _key(line), told, knowledge, report)


def _list(line: Line, knowledge: Knowledge, report: Report) -> None:
    seen: set[str] = set()
    for told in line["response"]["documents"]:
        if told["document_id"] in seen:
            report.add("doubled", f"{told['document_id']} stands twice in one list", line["index"])
        seen.add(told["document_id"])
        _document(line, (line["tenant"], told["document_id"]), told, knowledge, report)


def _document(line: Line, key: Key, told: Line, knowledge: Knowledge, report: Report) -> None:
    status = told["status"]
    if told["visible_revision"] != status["visible_revision"]:
        report.add("mixed", f"{_name(key)} is visible with two revisions in one answer", line["index"])
    knowledge.add_sight(key, _sight(line, told["visible_revision"], status, key))


def _content(line: Line, knowledge: Knowledge, report: Report) -> None:
    key, told = _key(line), line["response"]
    if not told["found"]:
        knowledge.add_sight(key, _sight(line, None))
        return
    marks = marks_in(told["text"])
    _check_owner(line, key, marks, report)
    versions = tuple(mark.version for mark in marks)
    timeline = knowledge.timeline(key)
    at_most = timeline.revision_at_most(versions)
    submitted = timeline.was_submitted(versions, line["end"])
    if not submitted or [mark.paragraph for mark in marks] != list(range(len(marks))):
        report.add("mixed", f"the content of {_name(key)} is none that was submitted: {_brief(marks)}", line["index"])
        return
    text, index = knowledge.contents.setdefault((key, versions), (told["text"], line["index"]))
    if text != told["text"]:
        report.add("mixed", f"one content of {_name(key)} has two texts", index, line["index"])
    sight = _sight(line, at_most)
    sight.exact = False
    knowledge.add_sight(key, sight)


def _chunks(line: Line, knowledge: Knowledge, report: Report) -> None:
    key, told = _key(line), line["response"]
    if not told["found"]:
        knowledge.add_sight(key, _sight(line, None))
        return
    by_revision: dict[int, list[Line]] = {}
    for page in told["pages"]:
        knowledge.add_sight(key, _sight(line, page["revision"]))
        if page["revision"] is not None:
            by_revision.setdefault(page["revision"], []).extend(page["chunks"])
    for revision, chunks in by_revision.items():
        _check_ordinals(line, key, chunks, report)
        marks = _pieces(line, key, revision, chunks, "chunk", knowledge, report)
        whole = len(by_revision) == 1 and told["complete"] and len({p["revision"] for p in told["pages"]}) == 1
        if not whole:
            continue
        if [chunk["ordinal"] for chunk in chunks] != list(range(len(chunks))):
            report.add("lost", f"chunks of {_name(key, revision)} are missing between others", line["index"])
        versions = knowledge.timeline(key).content(revision)
        if versions is not None and {mark.paragraph for mark in marks} != set(range(len(versions))):
            found = len({mark.paragraph for mark in marks})
            report.add(
                "lost",
                f"{found} of {len(versions)} paragraphs of {_name(key, revision)} are in its chunks",
                line["index"],
            )


def _check_ordinals(line: Line, key: Key, chunks: list[Line], report: Report) -> None:
    for what, values in (
        ("ordinal", [chunk["ordinal"] for chunk in chunks]),
        ("place", [(chunk["start"], chunk["end"]) for chunk in chunks]),
    ):
        if len(set(values)) != len(values):
            report.add("doubled", f"two chunks of {_name(key)} have one {what}", line["index"])


def _search(line: Line, knowledge: Knowledge, report: Report) -> None:
    by_document: dict[str, list[Line]] = {}
    for hit in line["response"]["hits"]:
        by_document.setdefault(hit["document_id"], []).append(hit)
    for document_id, hits in by_document.items():
        key = (line["tenant"], document_id)
        places = [(hit["revision"], hit["ordinal"]) for hit in hits]
        if len(set(places)) != len(places):
            report.add("doubled", f"one chunk of {_name(key)} stands twice in one answer", line["index"])
        _of_one_document(line, key, hits, "chunk", knowledge, report)


def _chat(line: Line, knowledge: Knowledge, report: Report) -> None:
    told = line["response"]
    indexes = [index for index, _ in told.get("deltas", ())]
    for before, index in zip([-1, *indexes], indexes, strict=False):
        if index not in {before + 1, 0}:
            report.add("stream", f"piece {index} of an answer came behind piece {before}", line["index"])
    if line["outcome"] != "ok":
        return
    _check_tenant(line, marks_in(told["answer"]), report)
    by_document: dict[str, list[Line]] = {}
    for citation in told["citations"]:
        by_document.setdefault(citation["document_id"], []).append({**citation, "text": citation["quote"]})
    for document_id, citations in by_document.items():
        _of_one_document(line, (line["tenant"], document_id), citations, "citation", knowledge, report)


def _of_one_document(line: Line, key: Key, pieces: list[Line], kind: str, knowledge: Knowledge, report: Report) -> None:
    revisions = sorted({piece["revision"] for piece in pieces})
    if len(revisions) > 1:
        report.add("mixed", f"one answer has revisions {revisions} of {_name(key)}", line["index"])
    for revision in revisions:
        knowledge.add_sight(key, _sight(line, revision, key=key))
        _pieces(line, key, revision, (p for p in pieces if p["revision"] == revision), kind, knowledge, report)


def _pieces(
    line: Line, key: Key, revision: int, pieces: Iterable[Line], kind: str, knowledge: Knowledge, report: Report
) -> Sequence[Mark]:
    """Note what a revision shows where, and check that it can be that revision; gives all marks in it."""
    spans = knowledge.spans.setdefault((key, revision), {})
    paragraphs: dict[int, int] = {}
    all_marks: list[Mark] = []
    for piece in pieces:
        spans.setdefault((piece["start"], piece["end"], piece["text"]), (line["index"], kind))
        marks = marks_in(piece["text"])
        _check_owner(line, key, marks, report)
        all_marks += marks
        for mark in marks:
            if paragraphs.setdefault(mark.paragraph, mark.version) != mark.version:
                report.add("mixed", f"{_name(key, revision)} shows {mark} and another version of it", line["index"])
    if paragraphs and not knowledge.timeline(key).narrow(revision, paragraphs, line["end"]):
        report.add(
            "mixed", f"{_name(key, revision)} shows what nobody submitted as it: {_brief(all_marks)}", line["index"]
        )
    return all_marks


def _check_owner(line: Line, key: Key, marks: Sequence[Mark], report: Report) -> None:
    _check_tenant(line, marks, report)
    if strangers := [mark for mark in marks if mark.document != _number(key[1])]:
        report.add("mixed", f"{_name(key)} shows another document's text: {_brief(strangers)}", line["index"])


def _check_tenant(line: Line, marks: Sequence[Mark], report: Report) -> None:
    if strangers := [mark for mark in marks if mark.tenant != _number(line["tenant"])]:
        report.add("foreign", f"{line['tenant']} was shown {_brief(strangers)}", line["index"])


def _observe(line: Line, knowledge: Knowledge, _: Report) -> None:
    told = line["response"]
    for letter in told["letters"]:
        letters = knowledge.timeline((letter["tenant"], letter["document_id"])).letters
        letters.setdefault(letter["revision"], line["index"])
    for status in told["statuses"]:
        key = (status["tenant"], status["document_id"])
        if status["state"] in {"indexed", "failed", "cancelled", "deleted"}:
            knowledge.add_told(key, status["revision"], status["state"], Told(line["index"], line["end"]))


def _sight(line: Line, visible: float | None, status: Line | None = None, key: Key | None = None) -> Sight:
    asked = line["arguments"].get("after_revision")
    return Sight(
        line["index"],
        line["kind"],
        line["start"],
        line["end"],
        # A position is a document's: of others it promises nothing.
        asked if key is None or key == _key(line) else None,
        visible,
        newest=status["revision"] if status else None,
        state=status["state"] if status else None,
        error=status["error"] if status else None,
        chunks_total=status["chunks_total"] if status else None,
        settled=line["client"] == SETTLER,
    )


def _key(line: Line) -> Key:
    return line["tenant"], line["document_id"]


@lru_cache
def _number(name: str) -> int:
    """Tenants and documents end with the number that their marks have."""
    return int(name.rpartition("-")[2])


def _name(key: Key, revision: int | None = None) -> str:
    name = "/".join(key)
    return name if revision is None else f"revision {revision} of {name}"


def _brief(marks: Sequence[Mark]) -> str:
    shown = " ".join(map(str, marks[:4]))
    return f"{shown} …" if len(marks) > 4 else shown or "nothing"


_LOOKS: dict[str, Callable[[Line, Knowledge, Report], None]] = {
    "status": _status,
    "get": _get,
    "list": _list,
    "content": _content,
    "chunks": _chunks,
    "search": _search,
    "chat": _chat,
    "observe": _observe,
}
