"""A service in memory that keeps the promises, the clients that use it, and the history of what they were told.

It is for the checker's tests alone: small enough to be seen to be right, and to be broken in one place at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from millrace.chaos.marks import Mark, marks_in, paragraphs

Json = dict[str, Any]
Key = tuple[str, str]

TENANTS = ("chaos-0", "chaos-1")
DOCUMENTS = 3
PARAGRAPHS = 4
PARAGRAPHS_PER_CHUNK = 2
PAUSE_S = 100.0
"""Longer than every grace that the checker gives."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log; its place is its revision."""

    kind: str
    key: Key
    versions: tuple[int, ...] = ()
    poison: bool = False


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
                if entry.kind != "delete"
            ],
            "letters": list(self.letters),
            "statuses": list(self.statuses),
        }


@dataclass
class Clients:
    """Clients of a service; each method is one operation, in ``lines`` as a history has it."""

    service: Service
    lines: list[Json] = field(default_factory=list)
    now: float = 0.0
    versions: dict[Key, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    last: dict[Key, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    """The newest acknowledged write of each document, with its versions."""
    late: list[Entry] = field(default_factory=list)
    """Writes without an answer, still on their way."""
    asked: int = 0

    def put(self, key: Key, *, one: int | None = None, outcome: str = "ok", lands: bool = True, **options: Any) -> None:
        """A new version; of paragraph ``one`` alone if given."""
        newest, versions = self.versions.get(key, (0, ()))
        newest += 1
        if one is not None and versions:
            versions = tuple(newest if place == one % PARAGRAPHS else each for place, each in enumerate(versions))
        else:
            versions = (newest,) * PARAGRAPHS
        poison = bool(options.get("poison"))
        if not poison:
            self.versions[key] = (newest, versions)
        entry = Entry("put", key, () if poison else versions, poison)
        self._write("put", entry, outcome, lands=lands, late=bool(options.get("late")))

    def delete(self, key: Key, outcome: str = "ok", *, lands: bool = True) -> None:
        self._write("delete", Entry("delete", key), outcome, lands=lands, late=False)

    def _write(self, kind: str, entry: Entry, outcome: str, *, lands: bool, late: bool) -> None:
        revision = self.service.write(entry) if lands and not late else None
        if late:
            self.late.append(entry)
        response: Json = {}
        if outcome == "ok":
            assert revision is not None
            response = {"document_id": entry.key[1], "revision": revision, "position": f"token-{revision}"}
            self.last[entry.key] = (revision, entry.versions)
        arguments = {"versions": list(entry.versions), "poison": entry.poison} if kind == "put" else {}
        self._line("writer", kind, entry.key, arguments, response, outcome)

    def land(self) -> None:
        """A write that nobody was answered happens after all."""
        if self.late:
            self.service.write(self.late.pop(0))

    def read(self, kind: str, key: Key, *, asking: bool = True, client: str = "reader", **arguments: Any) -> Json:
        """A read of a document, with the position of its newest acknowledged write if ``asking``."""
        after = self.last.get(key) if asking else None
        if after:
            self.service.pass_position(after[0])
        tenant = key[0]
        calls: dict[str, Callable[[], Json]] = {
            "status": lambda: self.service.status(key),
            "get": lambda: self.service.document(key),
            "content": lambda: self.service.content(key),
            "chunks": lambda: self.service.pages(key),
            "list": lambda: self.service.listing(tenant),
            "search": lambda: self.service.search(tenant, arguments["query"]),
        }
        response = calls[kind]()
        self._line(client, kind, key, {**arguments, "after_revision": after and after[0]}, response)
        return response

    def look_for(self, key: Key, paragraph: int = 0, *, asking: bool = True) -> None:
        """Search for a mark of the newest acknowledged write."""
        _, versions = self.last.get(key, (0, ()))
        version = versions[paragraph % PARAGRAPHS] if versions else 1
        mark = Mark(number(key[0]), number(key[1]), version, paragraph % PARAGRAPHS)
        self.read("search", key, asking=asking, query=str(mark))

    def ask(self, key: Key) -> None:
        """A question about a document."""
        self.asked += 1
        conversation_id, question = f"conversation-{self.asked // 3}", f"What is said? (Question {self.asked}.)"
        after = self.last.get(key)
        if after:
            self.service.pass_position(after[0])
        arguments = {"conversation_id": conversation_id, "message": question, "after_revision": after and after[0]}
        self._line("chatter", "chat", key, arguments, self.service.ask(key[0], conversation_id, question))
        self.converse(key[0], conversation_id)

    def converse(self, tenant: str, conversation_id: str, client: str = "chatter") -> None:
        self._line(
            client,
            "conversation",
            (tenant, ""),
            {"conversation_id": conversation_id},
            self.service.conversation(tenant, conversation_id),
        )

    def settle(self) -> None:
        """All comes to rest, is read, and looked at."""
        stuck = []
        self.now += PAUSE_S
        while self.service.applied < len(self.service.log):
            self.service.apply()
        for key in self.versions:
            told = self.read("status", key, client="settler")
            if told["found"] and told["state"] not in {"indexed", "failed", "deleted", "cancelled"}:
                stuck.append(f"{key} is {told['state']}")
                continue
            for kind in ("get", "content", "chunks"):
                self.read(kind, key, client="settler")
        for tenant, conversation_id in list(self.service.messages):
            self.converse(tenant, conversation_id, "settler")
        self.lines.append({"index": len(self.lines), "note": "settled", "at": self.now, "stuck": stuck})
        self.now += PAUSE_S
        self._line("observer", "observe", ("*", ""), {}, self.service.inventory())

    def _line(self, client: str, kind: str, key: Key, arguments: Json, response: Json, outcome: str = "ok") -> None:
        self.now += 1
        self.lines.append(
            {
                "index": len(self.lines),
                "client": client,
                "kind": kind,
                "tenant": key[0],
                "document_id": key[1],
                "arguments": arguments,
                "start": self.now - 0.5,
                "end": self.now,
                "outcome": outcome,
                "response": response,
            }
        )


def keys() -> Iterator[Key]:
    for tenant in TENANTS:
        for document in range(DOCUMENTS):
            yield tenant, f"doc-{document}"


def story(service: Service) -> list[Json]:
    """A history in which everything happens that a service could get wrong."""
    clients = Clients(service)
    first, second, third = islice(keys(), 3)
    stranger = (TENANTS[1], "doc-0")
    for key in (first, second, third, stranger):
        clients.put(key)
        for kind in ("status", "get", "content", "chunks", "list"):
            clients.read(kind, key)
        clients.look_for(key)
    clients.ask(first)
    clients.settle()
    clients.put(first, one=1)
    clients.look_for(first, 1)
    clients.read("search", first, query="anything")
    clients.read("chunks", first)
    clients.put(second, poison=True)
    clients.read("status", second)
    clients.delete(third)
    clients.read("get", third)
    clients.read("search", third, query="anything")
    clients.ask(first)
    clients.settle()
    clients.put(third)
    clients.read("content", third)
    clients.settle()
    return clients.lines
