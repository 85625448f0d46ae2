"""The clients that write: producers at both doors, deleters, cancellers, and those who have documents done again."""

import html
import random

from millrace.chaos.clients import Client, Doors
from millrace.chaos.history import Json, Operation
from millrace.chaos.library import Document, Library
from millrace.chaos.marks import paragraphs
from schemas.events import DocumentDeleted, DocumentSubmitted, TextContent

POISON_SHARE = 0.05
"""Of the submissions: what no parser can read."""
GARBAGE = b"%PDF-1.7 but not really \xff\xfe\x00\x01"
NO_TEXT = "<html><head><style>p {color: red}</style></head><body> </body></html>"


class HttpProducer(Client):
    """Puts documents and new versions of them over HTTP, as JSON and as files."""

    pause_s = 0.7

    async def step(self) -> None:
        """Submit one version."""
        document = self.library.any(self.rng)
        if self.rng.random() < POISON_SHARE:
            await self._submit(document, (), None)
        else:
            _, versions = document.next_version(self.rng)
            await self._submit(document, versions, "\n\n".join(self._paragraphs(document, versions)))

    async def _submit(self, document: Document, versions: tuple[int, ...], text: str | None) -> None:
        kind = "edit" if document.acknowledged else "put"
        with self.writing(kind, document, versions=versions, poison=text is None) as operation:
            told = await self._send(operation, document, text)
            document.acknowledge(told, versions)
            if told:
                self.doors.kafka.learn_epoch(told["revision"])

    async def _send(self, operation: Operation, document: Document, text: str | None) -> Json | None:
        door = self.doors.http(self.rng)
        form = self.rng.choice(["text", "markdown", "html", "file"])
        if text is None and form == "file":
            data, media_type = GARBAGE, "application/pdf"
        elif text is None or form == "html":
            page = NO_TEXT if text is None else "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
            data, media_type = page.encode(), "text/html"
        else:
            data, media_type = text.encode(), "text/markdown" if form == "markdown" else "text/plain"
        operation.arguments |= {"form": form, "media_type": media_type, "size_bytes": len(data)}
        if form == "file":
            return await door.write(
                operation,
                "POST",
                "/v1/documents",
                data={"document_id": document.document_id, "media_type": media_type},
                files={"file": ("document", data, media_type)},
            )
        body = {"document_id": document.document_id, "text": data.decode(), "media_type": media_type}
        return await door.write(operation, "POST", "/v1/documents", json=body)

    @staticmethod
    def _paragraphs(document: Document, versions: tuple[int, ...]) -> list[str]:
        return paragraphs(document.tenant_number, document.number, versions)


class KafkaProducer(Client):
    """Writes submissions and deletions straight onto the topic, by the published contract."""

    pause_s = 1.0

    async def step(self) -> None:
        """Submit one version, or delete a document."""
        if self.doors.kafka.epoch is None:
            return
        document = self.library.any(self.rng)
        if self.rng.random() < 0.15:
            with self.writing("kafka_delete", document) as operation:
                deleted = DocumentDeleted(tenant_id=document.tenant, document_id=document.document_id)
                document.acknowledge(await self.doors.kafka.write(operation, deleted))
            return
        if document.large:
            return  # its text does not fit into an event
        _, versions = document.next_version(self.rng)
        with self.writing("kafka_put", document, versions=versions, poison=False) as operation:
            submitted = DocumentSubmitted(
                tenant_id=document.tenant,
                document_id=document.document_id,
                media_type="text/plain",
                content=TextContent(
                    text="\n\n".join(paragraphs(document.tenant_number, document.number, versions)),
                ),
            )
            document.acknowledge(await self.doors.kafka.write(operation, submitted), versions)


class Changer(Client):
    """Asks for something to be done to a document that is there."""

    kind: str
    method = "POST"

    async def step(self) -> None:
        """One request."""
        document = self.library.written(self.rng)
        if document is None:
            return
        kind = self.choose()
        path = f"/v1/documents/{document.document_id}"
        with self.writing(kind, document) as operation:
            told = await self.doors.http(self.rng).write(
                operation, self.method, path if self.method == "DELETE" else f"{path}/{kind}"
            )
            self.remember(document, told)

    def choose(self) -> str:
        """What to ask for."""
        return self.kind

    def remember(self, document: Document, told: Json | None) -> None:
        """Take in the acknowledgement: it is a write that reads must show."""
        document.acknowledge(told)


class Deleter(Changer):
    """Deletes documents."""

    kind = "delete"
    method = "DELETE"
    pause_s = 1.5


class Canceller(Changer):
    """Cancels documents, wherever they are on their way."""

    kind = "cancel"
    pause_s = 1.5

    def remember(self, document: Document, told: Json | None) -> None:
        """A cancellation makes no revision that a read could show."""


class Repeater(Changer):
    """Has documents tried again, or done anew."""

    pause_s = 2.0

    def choose(self) -> str:
        """Either."""
        return self.rng.choice(["retry", "reprocess"])


def writers(doors: Doors, library: Library, seed: int) -> list[Client]:
    """One of each, and more of those that put documents."""
    kinds: list[type[Client]] = [
        HttpProducer,
        HttpProducer,
        HttpProducer,
        KafkaProducer,
        KafkaProducer,
        Deleter,
        Canceller,
        Repeater,
    ]
    return [
        kind(f"{kind.__name__.lower()}-{number}", doors, library, random.Random(f"{seed}-{number}"))  # noqa: S311
        for number, kind in enumerate(kinds)
    ]
