"""Clients of the service in memory, and the history of what they were told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from millrace.chaos.marks import Mark
from tests.chaos.model import Entry, Json, Key, Service, number

TENANTS = ("chaos-0", "chaos-1")
DOCUMENTS = 3
PARAGRAPHS = 4
PAUSE_S = 100.0
"""Longer than every grace that the checker gives."""


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

    def cancel(self, key: Key, outcome: str = "ok") -> None:
        self._change("cancel", key, self.service.cancel(key), outcome)

    def retry(self, key: Key, outcome: str = "ok", *, overtaken: bool = False) -> None:
        revision = self.service.repeat(key, overtaken=overtaken)
        if revision and outcome == "ok":
            self.last[key] = (revision, ())
        self._change("retry", key, revision, outcome)

    def _change(self, kind: str, key: Key, revision: int | None, outcome: str) -> None:
        if revision is None:
            self._line("changer", kind, key, {}, {"error": "not-found"}, "refused")
        else:
            response = {"document_id": key[1], "revision": revision} if outcome == "ok" else {}
            self._line("changer", kind, key, {}, response, outcome)

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
    clients.read("status", first)
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
    for key in (first, third):
        for kind in ("status", "get", "content", "chunks"):
            clients.read(kind, key, asking=False)
        clients.read("search", key, asking=False, query="anything")
    clients.put(third)
    clients.read("content", third)
    clients.settle()
    return clients.lines
