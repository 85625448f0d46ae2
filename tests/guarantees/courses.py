"""What happens to a document (or a question) while a process ends, and what must have come of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from schemas.events import (
    ChatCompleted,
    ChatDelta,
    ChatRequested,
    DocumentCancelled,
    DocumentDeleted,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    State,
    TextContent,
)
from schemas.position import position_of
from schemas.topics import CHAT_EVENTS, CHAT_REQUESTED, DEAD_LETTER, STATUS, SUBMITTED, Topic
from schemas.wire import decode, encode
from streams.parse import partition_of
from tests.acceptance.topics import read_status
from tests.conditions import eventually
from tests.guarantees.observed import Observer
from tests.streams.topic import header

PIN = "The locking pin is painted yellow."
LONG = " ".join(f"Sentence number {index} of a long text stands here." for index in range(2_500))
"""More than one batch of chunks."""
NAME = "d"


@dataclass(slots=True)
class Scene:
    """One tenant's document, and the means to write and to look."""

    tenant: str
    kafka: AIOKafkaProducer
    seen: Observer
    epoch: int
    revisions: list[int] = field(default_factory=list)
    """Of what was written of the document, in order."""

    async def write(self, event: Event, topic: Topic = SUBMITTED, *, misplaced: bool = False) -> None:
        """Write an event as a producer does; ``misplaced``: as one with another partitioner does."""
        key, value, headers = encode(event)
        partition = (partition_of(key) + misplaced) % topic.partitions
        await self.write_raw(topic, key, value, headers, partition)

    async def write_raw(
        self, topic: Topic, key: bytes, value: bytes, headers: list[tuple[str, bytes]], partition: int
    ) -> None:
        """Write a record."""
        place = await self.kafka.send_and_wait(topic.name, value, key=key, headers=headers, partition=partition)
        self.revisions.append(position_of(self.epoch, place.offset))

    async def submit(self, text: str = PIN, media_type: str = "text/plain", *, misplaced: bool = False) -> None:
        """Write a submission."""
        event = DocumentSubmitted(
            tenant_id=self.tenant, document_id=NAME, media_type=media_type, content=TextContent(text=text)
        )
        await self.write(event, misplaced=misplaced)

    async def delete(self) -> None:
        """Write a deletion."""
        await self.write(DocumentDeleted(tenant_id=self.tenant, document_id=NAME))

    async def cancel(self) -> None:
        """Write a cancellation."""
        await self.write(DocumentCancelled(tenant_id=self.tenant, document_id=NAME))

    async def statuses(self) -> list[DocumentStatus]:
        """What was told."""
        return [read_status(record) for record in await self.seen.records(STATUS)]

    async def state(self, state: State) -> DocumentStatus:
        """Wait until a state is told of the newest revision."""

        async def found() -> list[DocumentStatus]:
            return [
                each for each in await self.statuses() if each.state is state and each.revision == self.revisions[-1]
            ]

        return (await eventually(found, deadline_s=60))[0]

    async def final(self) -> list[tuple[int, State]]:
        """The outcomes that were told, each once, in the order of their revisions."""
        return sorted({(each.revision, each.state) for each in await self.statuses() if each.state.final})

    async def stored(self) -> list[tuple[int, str]]:
        """Revision and state of each revision that is known."""
        return [(row[0], row[1]) for row in await self.seen.rows("revision, state FROM document_processing")]

    async def visible(self) -> list[tuple[int, str]]:
        """Revision and text of each chunk that readers see."""
        return [(row[0], row[1]) for row in await self.seen.rows("revision, text, ordinal FROM visible_chunks", "3")]

    async def letter_ids(self) -> set[str]:
        """The identities of the letters on the topic, which must be those in the table."""
        told = {header(record, "error_letter") for record in await self.seen.records(DEAD_LETTER)}
        assert told == {row[0] for row in await self.seen.rows("letter_id FROM dead_letters")}
        return told

    async def assert_settled(self) -> None:
        """Who waits for the newest write goes on."""
        [(settled,)] = await self.seen.rows("settled FROM documents")
        assert settled >= self.revisions[-1]


Step = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Course:
    """``begin`` is over before the process is told to stop; ``go`` is what it stops at."""

    go: Step
    check: Step
    begin: Step | None = None


async def _indexed(scene: Scene) -> None:
    await scene.submit()
    await scene.state(State.INDEXED)


async def _short(scene: Scene) -> None:
    await scene.submit()


async def _long(scene: Scene) -> None:
    await scene.submit(LONG)


async def _is_indexed(scene: Scene) -> None:
    newest = scene.revisions[-1]
    assert await scene.stored() == [(newest, "indexed")]
    assert (await scene.final())[-1] == (newest, State.INDEXED)
    assert {revision for revision, _ in await scene.visible()} == {newest}
    assert not await scene.letter_ids()
    await scene.assert_settled()


async def _edit(scene: Scene) -> None:
    await scene.submit("The locking pin is painted red.")


async def _is_edited(scene: Scene) -> None:
    await _is_indexed(scene)
    assert [text for _, text in await scene.visible()] == ["The locking pin is painted red."]


async def _misplaced(scene: Scene) -> None:
    await scene.submit(misplaced=True)


async def _is_in_place(scene: Scene) -> None:
    """It may have been sent to its place twice: then it is there as two revisions with the same content."""
    [(_, state)] = await scene.stored()
    assert state == "indexed"
    assert [text for _, text in await scene.visible()] == [PIN]
    assert not await scene.letter_ids()


async def _cancel(scene: Scene) -> None:
    await scene.submit(LONG * 2)
    await scene.state(State.PARSING)
    await scene.cancel()


async def _is_cancelled(scene: Scene) -> None:
    submitted = scene.revisions[0]
    assert await scene.stored() == [(submitted, "cancelled")]
    assert await scene.final() == [(submitted, State.CANCELLED)]
    assert not await scene.visible()
    assert not await scene.letter_ids()
    await scene.assert_settled()


async def _delete(scene: Scene) -> None:
    await scene.delete()


async def _is_deleted(scene: Scene) -> None:
    newest = scene.revisions[-1]
    assert await scene.stored() == [(newest, "deleted")]
    assert (await scene.final())[-1] == (newest, State.DELETED)
    assert await scene.seen.rows("revision, deleted FROM documents") == [(newest, True)]
    assert not scene.seen.blobs()
    await scene.assert_settled()


async def _garbage(scene: Scene) -> None:
    key = f"{scene.tenant}/{NAME}".encode()
    await scene.write_raw(SUBMITTED, key, b"{", [], partition_of(key))


async def _fail(scene: Scene) -> None:
    await scene.submit("This is no PDF.", "application/pdf")


async def _has_failed(scene: Scene) -> None:
    newest = scene.revisions[-1]
    assert await scene.stored() == [(newest, "failed")]
    assert await scene.final() == [(newest, State.FAILED)]
    assert len(await scene.letter_ids()) == 1
    assert await scene.seen.rows("revision, state FROM dead_letters") == [(newest, "open")]
    assert not await scene.visible()
    await scene.assert_settled()


async def _ask(scene: Scene) -> None:
    question = ChatRequested(
        tenant_id=scene.tenant, conversation_id="c", request_id="r", message="Which colour has the locking pin?"
    )
    await scene.write(question, CHAT_REQUESTED)


async def _is_answered(scene: Scene) -> None:
    rows = await scene.seen.rows("role, text, message_id FROM conversation_messages", "created_at")
    assert [role for role, *_ in rows] == ["user", "assistant"]
    _, answer, message_id = rows[1]
    assert "yellow" in answer
    events = [
        decode(CHAT_EVENTS.events, record.key, record.value, record.headers)[0]
        for record in await scene.seen.records(CHAT_EVENTS)
    ]
    completed = [event for event in events if isinstance(event, ChatCompleted)]
    assert {(event.message_id, event.answer) for event in completed} == {(message_id, answer)}
    pieces = ""
    for event in events:
        if isinstance(event, ChatDelta):
            pieces = event.text if event.index == 0 else pieces + event.text
    assert pieces == answer


COURSES = {
    "text": Course(_short, _is_indexed),
    "long": Course(_long, _is_indexed),
    "edit": Course(_edit, _is_edited, _indexed),
    "misplaced": Course(_misplaced, _is_in_place),
    "cancel": Course(_cancel, _is_cancelled),
    "delete": Course(_delete, _is_deleted, _indexed),
    "garbage": Course(_garbage, _has_failed),
    "fail": Course(_fail, _has_failed),
    "ask": Course(_ask, _is_answered, _indexed),
}
