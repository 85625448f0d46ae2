"""The clients that read: with the position of a write or without, through whichever gateway; and those that chat."""

import random
from typing import Any

from millrace.chaos.clients import Client, Doors
from millrace.chaos.doors import ANSWER_TIMEOUT_S, HttpDoor
from millrace.chaos.history import Json, Operation, Outcome
from millrace.chaos.library import Document, Library, Written
from millrace.chaos.marks import Mark

POSITION_HEADER = "X-Millrace-Position"
CHUNKS_PER_PAGE = (3, 50, 200)
GENERIC_QUERIES = ("heavy stone wheel", "yellow lantern leaks", "river miller", "loose bolt of the sluice")
HIT_FIELDS = ("document_id", "revision", "ordinal", "start", "end", "text")


class Reads:
    """Each read of a document, recorded; ``after`` is the write that it must show."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def status(self, door: HttpDoor, document: Document, after: Written | None) -> Json | None:
        """Where it stands; None where nobody answered."""
        with self._operation("status", document, after) as operation:
            if (answer := await self._get(operation, door, document, "/status", after)) is None:
                return operation.response if operation.outcome is Outcome.OK else None
            operation.ok(found=True, **_status(answer.json()))
        told: Json = operation.response
        return told

    async def document(self, door: HttpDoor, document: Document, after: Written | None) -> None:
        """The document as searches see it."""
        with self._operation("get", document, after) as operation:
            if answer := await self._get(operation, door, document, "", after):
                told = answer.json()
                operation.ok(found=True, visible_revision=told["revision"], status=_status(told["status"]))

    async def content(self, door: HttpDoor, document: Document, after: Written | None) -> None:
        """The extracted text."""
        with self._operation("content", document, after) as operation:
            if answer := await self._get(operation, door, document, "/content", after, format="text"):
                operation.ok(found=True, text=answer.text)

    async def chunks(self, door: HttpDoor, document: Document, after: Written | None, limit: int) -> None:
        """All chunks, page by page."""
        pages: list[Json] = []
        cursor: str | None = None
        with self._operation("chunks", document, after, limit=limit) as operation:
            while not pages or cursor:
                page = {"limit": limit} | ({"cursor": cursor} if cursor else {})
                if (answer := await self._get(operation, door, document, "/chunks", after, **page)) is None:
                    if pages and operation.response.get("found") is False:
                        break  # deleted meanwhile: what came before is told all the same
                    return
                told = answer.json()
                cursor = told["next_cursor"]
                chunks = [{name: chunk[name] for name in HIT_FIELDS[2:]} for chunk in told["chunks"]]
                pages.append({"revision": told["revision"], "chunks": chunks})
            operation.ok(found=True, pages=pages, complete=cursor is None)

    async def search(self, door: HttpDoor, document: Document, after: Written | None, query: str, **body: Any) -> None:
        """A search; ``document`` is the one that the write behind ``after`` is about."""
        with self._operation("search", document, after, query=query, **body) as operation:
            answer = await door.read(
                operation, "POST", "/v1/search", json={"query": query, **body}, headers=_position(after)
            )
            if answer is not None:
                hits = [{name: hit[name] for name in HIT_FIELDS} for hit in answer.json()["hits"]]
                operation.ok(hits=hits)

    async def listing(self, door: HttpDoor, document: Document, after: Written | None) -> None:
        """The tenant's documents."""
        with self._operation("list", document, after) as operation:
            answer = await door.read(operation, "GET", "/v1/documents", params={"limit": 200}, headers=_position(after))
            if answer is not None:
                operation.ok(
                    documents=[
                        {
                            "document_id": told["document_id"],
                            "visible_revision": told["revision"],
                            "status": _status(told["status"]),
                        }
                        for told in answer.json()["documents"]
                    ]
                )

    async def conversation(self, door: HttpDoor, tenant: str, conversation_id: str) -> None:
        """What was said."""
        with self._client.doors.history.operation(
            self._client.name, "conversation", tenant, None, conversation_id=conversation_id
        ) as operation:
            answer = await door.read(operation, "GET", f"/v1/conversations/{conversation_id}", params={"limit": 200})
            if answer is not None:
                messages = [
                    {name: message[name] for name in ("message_id", "role", "text", "citations")}
                    for message in answer.json()["messages"]
                ]
                operation.ok(found=True, messages=messages)

    def _operation(self, kind: str, document: Document, after: Written | None, **arguments: Any) -> Any:
        return self._client.operation(
            kind, document, after=after and after.position, after_revision=after and after.revision, **arguments
        )

    @staticmethod
    async def _get(
        operation: Operation, door: HttpDoor, document: Document, part: str, after: Written | None, **query: Any
    ) -> Any:
        path = f"/v1/documents/{document.document_id}{part}"
        return await door.read(operation, "GET", path, params=query, headers=_position(after))


class Reader(Client):
    """Reads documents in every way."""

    pause_s = 0.4

    async def step(self) -> None:
        """One read, half of the time of what was just written."""
        document = self.library.any(self.rng)
        after = document.last if self.rng.random() < 0.6 else None
        door = self.doors.http(self.rng)
        reads = Reads(self)
        match self.rng.choice(["status", "get", "content", "chunks", "list"]):
            case "status":
                await reads.status(door, document, after)
            case "get":
                await reads.document(door, document, after)
            case "list":
                await reads.listing(door, document, after)
            case _ if document.large:
                return  # its text would fill the history; it is read when all has settled
            case "content":
                await reads.content(door, document, after)
            case _:
                await reads.chunks(door, document, after, self.rng.choice(CHUNKS_PER_PAGE))


class Searcher(Client):
    """Searches for the marks of what was written, and for words that stand everywhere."""

    pause_s = 0.5

    async def step(self) -> None:
        """One search."""
        document = self.library.any(self.rng)
        after = document.last if self.rng.random() < 0.6 else None
        door = self.doors.http(self.rng)
        written = after or document.last
        if written and written.versions and self.rng.random() < 0.7:
            number = self.rng.randrange(len(written.versions))
            mark = Mark(document.tenant_number, document.number, written.versions[number], number)
            mode = self.rng.choice(["text", "text", "hybrid"])
            await Reads(self).search(door, document, after, str(mark), mode=mode, limit=10)
        else:
            await Reads(self).search(door, document, after, self.rng.choice(GENERIC_QUERIES), limit=20)


class Chatter(Client):
    """Asks about documents' marks, in conversations that go on for a few questions, and reads them back."""

    pause_s = 1.5

    def __init__(self, name: str, doors: Doors, library: Library, rng: random.Random) -> None:
        super().__init__(name, doors, library, rng)
        self.conversations: list[tuple[str, str]] = []
        """(tenant, conversation) pairs, the last one still going on."""
        self._asked = 0

    async def step(self) -> None:
        """Ask, or read a conversation."""
        if self.conversations and self.rng.random() < 0.3:
            tenant, conversation_id = self.rng.choice(self.conversations[-8:])
            await Reads(self).conversation(self.doors.http(self.rng), tenant, conversation_id)
            return
        document = self.library.written(self.rng)
        if document is None:
            return
        going_on = self.conversations and self.conversations[-1][0] == document.tenant and self.rng.random() < 0.7
        if not going_on:
            # The history's place makes it unlike that of another run on the same data.
            self.conversations.append((document.tenant, f"{document.tenant}-{self.name}-{self._asked}"))
        await self._ask(document, self.conversations[-1][1])

    def take_conversations(self) -> list[tuple[str, str]]:
        """Those of since this was last asked, and the one that goes on."""
        taken = self.conversations
        self.conversations = taken[-1:]
        return taken

    async def _ask(self, document: Document, conversation_id: str) -> None:
        self._asked += 1
        versions = next((written.versions for written in document.acknowledged[::-1] if written.versions), (1,))
        number = self.rng.randrange(len(versions))
        mark = Mark(document.tenant_number, document.number, versions[number], number)
        question = f"What does {mark} say? (Question {self._asked} of {self.name}.)"
        body: Json = {"message": question, "conversation_id": conversation_id}
        if self.rng.random() < 0.5:
            body["filters"] = {"document_ids": [document.document_id]}
        stream = self.rng.random() < 0.5
        after = document.last if self.rng.random() < 0.5 else None
        with self.operation(
            "chat",
            document,
            conversation_id=conversation_id,
            message=question,
            stream=stream,
            after=after and after.position,
            after_revision=after and after.revision,
        ) as operation:
            door = self.doors.http(self.rng)
            if stream:
                await self._listen(operation, door, body, after)
            else:
                answer = await door.read(
                    operation, "POST", "/v1/chat", json=body, headers=_position(after), timeout=ANSWER_TIMEOUT_S
                )
                if answer is not None:
                    told = answer.json()
                    operation.ok(**{name: told[name] for name in ("message_id", "answer", "citations")})

    @staticmethod
    async def _listen(operation: Operation, door: HttpDoor, body: Json, after: Written | None) -> None:
        deltas: list[list[Any]] = []
        path = f"/v1/chat?after={after.position}" if after else "/v1/chat"
        async for name, data in door.stream(operation, path, operation.tenant, {**body, "stream": True}):
            if name == "delta":
                deltas.append([data["index"], data["text"]])
            elif name == "completed":
                told = {name: data.get(name) for name in ("message_id", "answer")}
                operation.ok(deltas=deltas, citations=data.get("citations", []), **told)
            else:
                operation.unknown(error=data["error"]["type"])
        operation.response.setdefault("deltas", deltas)


def _position(after: Written | None) -> dict[str, str]:
    return {POSITION_HEADER: after.position} if after else {}


def _status(told: Json) -> Json:
    error = told.get("error")
    return {
        "revision": told["revision"],
        "state": told["state"],
        "visible_revision": told.get("visible_revision"),
        "chunks_total": told.get("chunks_total"),
        "error": error and error["type"],
    }


def readers(doors: Doors, library: Library, seed: int) -> list[Client]:
    """A handful."""
    kinds: list[type[Client]] = [Reader, Reader, Reader, Reader, Searcher, Searcher, Chatter, Chatter]
    return [
        kind(f"{kind.__name__.lower()}-{number}", doors, library, random.Random(f"{seed}-reads-{number}"))  # noqa: S311
        for number, kind in enumerate(kinds)
    ]
