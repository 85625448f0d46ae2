"""A service in memory that keeps the promises.

It is for the checker's tests alone: small enough to be seen to be right, and to be broken in one place at a time.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from millrace.chaos.marks import marks_in, paragraphs

Json = dict[str, Any]
Key = tuple[str, str]

PARAGRAPHS_PER_CHUNK = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log; its place is its revision."""

    kind: str
    key: Key
    versions: tuple[int, ...] = ()
    poison: bool = False
    superseded: bool = False


@dataclass(slots=True)
class Row:
    """What the service knows of one document."""

    newest: int = 0
    state: str = "received"
    error: str | None = None
    visible: int | None = None
    versions: tuple[int, ...] = ()


def number(name: str) -> int:
    return int(name.rpartition("-")[2])


@dataclass
class Service:
    """One log, applied in order, some time after it was written."""

    log: list[Entry] = field(default_factory=list)
    applied: int = 0
    cancelled: set[int] = field(default_factory=set)
    rows: dict[Key, Row] = field(default_factory=dict)
    stored: dict[tuple[Key, int], int] = field(default_factory=dict)
    """Rows of chunks by revision."""
    blobs: dict[tuple[Key, int], str] = field(default_factory=dict)
    letters: list[Json] = field(default_factory=list)
    statuses: list[Json] = field(default_factory=list)
    messages: dict[tuple[str, str], list[Json]] = field(default_factory=dict)

    def write(self, entry: Entry) -> int:
        self.log.append(entry)
        row = self.rows.setdefault(entry.key, Row())
        row.newest, row.state, row.error = len(self.log), "received", None
        return len(self.log)

    def cancel(self, key: Key) -> int | None:
        """Stop what is unfinished; None where nothing is."""
        unfinished = [
            revision
            for revision, entry in enumerate(self.log, 1)
            if revision > self.applied and entry.key == key and entry.kind in {"put", "retry"}
        ]
        if not unfinished:
            return None
        self.cancelled.update(unfinished)
        self.log.append(Entry("cancel", key))
        return len(self.log)

    def repeat(self, key: Key, *, overtaken: bool) -> int | None:
        """Submit the newest content once more; ``overtaken``: something newer came in between. None: there is none."""
        mine = [entry for entry in self.log if entry.key == key and entry.kind != "cancel"]
        if not mine or mine[-1].kind == "delete":
            return None
        return self.write(replace(mine[-1], kind="retry", superseded=overtaken))

    def pass_position(self, revision: int) -> None:
        """What a read that asks for a position waits for."""
        while self.applied < revision:
            self.apply()

    def apply(self) -> None:
        if self.applied == len(self.log):
            return
        entry = self.log[self.applied]
        self.applied += 1
        revision, row = self.applied, self.rows[entry.key]
        if entry.kind == "delete":
            self.remove(entry.key, row)
            self.end(entry, revision, "deleted")
        elif entry.kind == "cancel":
            pass  # it is of what was not applied before it, and that knows
        elif revision in self.cancelled or entry.superseded:
            self.end(entry, revision, "cancelled", "superseded" if entry.superseded else None)
        elif entry.poison:
            self.fail(entry, revision)
        else:
            self.publish(entry, revision, row)
            self.end(entry, revision, "indexed")

    def fail(self, entry: Entry, revision: int) -> None:
        self.add_letter(entry, revision)
        self.end(entry, revision, "failed", "damaged-document")

    def add_letter(self, entry: Entry, revision: int) -> None:
        tenant, document_id = entry.key
        self.letters.append(
            {"tenant": tenant, "document_id": document_id, "revision": revision, "identity": str(revision)}
        )

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        self.remove(entry.key, row)
        row.visible, row.versions = revision, entry.versions
        self.stored[entry.key, revision] = len(self.chunks(entry.key, row.versions))
        self.blobs[entry.key, revision] = f"{entry.key[0]}/originals/{revision}"

    def remove(self, key: Key, row: Row) -> None:
        """Take away what is visible, and all that belongs to it."""
        if row.visible is not None:
            self.stored.pop((key, row.visible), None)
            self.forget_blob(key, row.visible)
        row.visible, row.versions = None, ()

    def forget_blob(self, key: Key, revision: int) -> None:
        self.blobs.pop((key, revision), None)

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        row, (tenant, document_id) = self.rows[entry.key], entry.key
        if row.newest == revision:
            row.state, row.error = state, error
        self.statuses.append({"tenant": tenant, "document_id": document_id, "revision": revision, "state": state})

    def text(self, key: Key, versions: tuple[int, ...]) -> str:
        return "\n\n".join(paragraphs(number(key[0]), number(key[1]), versions))

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        text, chunks, start = self.text(key, versions), [], 0
        parts = text.split("\n\n")
        for ordinal, first in enumerate(range(0, len(parts), PARAGRAPHS_PER_CHUNK)):
            piece = "\n\n".join(parts[first : first + PARAGRAPHS_PER_CHUNK])
            chunks.append({"ordinal": ordinal, "start": start, "end": start + len(piece), "text": piece})
            start += len(piece) + 2
        return chunks

    def status(self, key: Key) -> Json:
        row = self.rows.get(key)
        if row is None:
            return {"found": False}
        return {
            "found": True,
            "revision": row.newest,
            "state": row.state,
            "visible_revision": row.visible,
            "chunks_total": len(self.chunks(key, row.versions)) if row.state == "indexed" else None,
            "error": row.error,
        }

    def document(self, key: Key) -> Json:
        status = self.status(key)
        if not status["found"] or status["state"] == "deleted":
            return {"found": False}
        return {"found": True, "visible_revision": status["visible_revision"], "status": status}

    def content(self, key: Key) -> Json:
        row = self.rows.get(key)
        if row is None or row.visible is None:
            return {"found": False}
        return {"found": True, "text": self.text(key, row.versions)}

    def pages(self, key: Key) -> Json:
        row = self.rows.get(key)
        if row is None or row.visible is None:
            return {"found": False}
        chunks = self.chunks(key, row.versions)
        return {
            "found": True,
            "pages": [{"revision": row.visible, "chunks": [chunk]} for chunk in chunks],
            "complete": True,
        }

    def listing(self, tenant: str) -> Json:
        return {
            "documents": [
                {"document_id": key[1], **told}
                for key in self.rows
                if key[0] == tenant
                if (told := self.document(key))["found"]
            ]
        }

    def hits(self, tenant: str, query: str) -> list[Json]:
        wanted = marks_in(query)
        return [
            {"document_id": key[1], "revision": row.visible, **chunk}
            for key, row in self.rows.items()
            if key[0] == tenant and row.visible is not None
            for chunk in self.chunks(key, row.versions)
            if not wanted or set(wanted) & set(marks_in(chunk["text"]))
        ]

    def search(self, tenant: str, query: str) -> Json:
        return {"hits": self.hits(tenant, query)}

    def ask(self, tenant: str, conversation_id: str, question: str) -> Json:
        messages = self.messages.setdefault((tenant, conversation_id), [])
        request = f"request-{sum(map(len, self.messages.values()))}"
        messages.append({"message_id": f"{request}-user", "role": "user", "text": question, "citations": []})
        hits = self.hits(tenant, question)[:2]
        citations = [
            {
                "number": place,
                "document_id": hit["document_id"],
                "revision": hit["revision"],
                "start": hit["start"],
                "end": hit["end"],
                "quote": hit["text"],
            }
            for place, hit in enumerate(hits, 1)
        ]
        answer = " ".join(hit["text"] for hit in hits) or "Nothing."
        answered = {"message_id": f"{request}-assistant", "role": "assistant", "text": answer, "citations": citations}
        messages.append(answered)
        middle = len(answer) // 2
        return {
            "message_id": answered["message_id"],
            "answer": answer,
            "citations": citations,
            "deltas": [[0, answer[:middle]], [1, answer[middle:]]],
        }

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        messages = self.messages.get((tenant, conversation_id))
        return {"found": False} if messages is None else {"found": True, "messages": [dict(each) for each in messages]}

    def inventory(self) -> Json:
        return {
            "rows": [
                {
                    "generation": "g1",
                    "tenant": tenant,
                    "document_id": document_id,
                    "revision": revision,
                    "rows": count,
                    "ordinals": count,
                }
                for ((tenant, document_id), revision), count in self.stored.items()
            ],
            "documents": [
                {"generation": "g1", "blob_key": self.blobs.get((key, row.visible or 0)), "text_key": None}
                for key, row in self.rows.items()
            ],
            "blobs": list(self.blobs.values()),
            "submissions": [
                {
                    "tenant": entry.key[0],
                    "document_id": entry.key[1],
                    "revision": revision,
                    "blob": f"{entry.key[0]}/originals/{revision}",
                }
                for revision, entry in enumerate(self.log, 1)
                if entry.kind == "put"
            ],
            "letters": list(self.letters),
            "statuses": list(self.statuses),
        }
