"""The failure windows of docs/guarantees.md: between which two effects a process may end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.events import State
from schemas.topics import CHAT_EVENTS, CHUNKED, DEAD_LETTER, EMBEDDED, SUBMITTED, Topic

Call = dict[str, Any]
"""The arguments of a call, by name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Before or after a call of a function, named as ``module:function`` or ``module:Class.method``."""

    target: str
    before: bool
    holds: Callable[[Call], bool] = lambda call: True


@dataclass(frozen=True, slots=True)
class Window:
    """A place in the product where a process stops the first time that it comes there."""

    name: str
    stage: str
    between: str
    """As the page says it."""
    place: Place
    course: str = "text"
    """What happens to a document meanwhile; see `tests.guarantees.courses`."""


SEND = "aiokafka:AIOKafkaProducer.send"
TELL = "streams.outbox:Outbox.tell"


def before_sending(topic: Topic, kind: str = "") -> Place:
    """Before the first record to a topic, of an event type that ends so."""
    return Place(SEND, True, lambda call: call["topic"] == topic.name and _kind(call).endswith(kind))


def after_sending(topic: Topic) -> Place:
    """When the broker has acknowledged the first record to a topic."""
    return Place(SEND, False, lambda call: call["topic"] == topic.name)


def before_telling(state: State, cause: Topic | None = None) -> Place:
    """Before a status is told, on account of a record of a topic."""
    return Place(
        TELL,
        True,
        lambda call: any(
            status.state is state and (cause is None or record.topic == cause.name)
            for record, status in call["statuses"]
        ),
    )


def after_putting(folder: str) -> Place:
    """When a blob in a folder is written."""
    return Place("db.blobs:Blobs.put", False, lambda call: folder in call["key"])


def after(target: str) -> Place:
    """After a call."""
    return Place(target, False)


def _kind(call: Call) -> str:
    return str(dict(call["headers"]).get("ce_type", b"").decode())


WINDOWS = [
    Window("W1", "parse", "a run is noted, but nothing is parsed", after("db.processing:begin_runs")),
    Window(
        "W2",
        "parse",
        "the original is noted as needed, but not written",
        Place("db.blobs:Blobs.put", True, lambda call: "/originals/" in call["key"]),
    ),
    Window("W3", "parse", "the original is written, but nothing made of it", after_putting("/originals/")),
    Window(
        "W4",
        "parse",
        "the text is made, but not written",
        Place("db.blobs:Blobs.put", True, lambda call: "/texts/" in call["key"]),
    ),
    Window("W5", "parse", "the text is written, but no chunk sent", after_putting("/texts/")),
    Window("W6", "parse", "one batch of chunks is sent, but not the others", after_sending(CHUNKED), "long"),
    Window(
        "W7", "parse", "all batches are sent, but not acknowledged", after("streams.parse:ParseStage.handle"), "long"
    ),
    Window(
        "W8",
        "parse",
        "the record is acknowledged, but its offset not committed",
        Place("faust.transport.consumer:Consumer.ack", False, lambda call: call["message"].topic == SUBMITTED.name),
    ),
    Window(
        "W9",
        "parse",
        "a misplaced record is sent to its place, but not acknowledged",
        after_sending(SUBMITTED),
        "misplaced",
    ),
    Window(
        "W10",
        "parse",
        "a cancellation is committed, but not told",
        before_telling(State.CANCELLED, SUBMITTED),
        "cancel",
    ),
    Window("W11", "parse", "a cancellation is told, but not passed on", before_sending(CHUNKED, ".dropped"), "cancel"),
    Window("W12", "parse", "a deletion is stored, but not passed on", before_sending(CHUNKED, ".forgotten"), "delete"),
    Window(
        "W13", "parse", "the letter of what is no event is kept, but not sent", after("db.dead_letters:add"), "garbage"
    ),
    Window("W14", "embed", "vectors are made, but not sent", before_sending(EMBEDDED)),
    Window("W15", "embed", "one batch is sent, but not the others", after_sending(EMBEDDED), "long"),
    Window("W16", "embed", "all batches are sent, but not acknowledged", after("streams.embed:EmbedStage.handle")),
    Window("W17", "index", "rows are stored, but not committed", after("db.chunks:store"), "edit"),
    Window("W18", "index", "everything is written, but not committed", after("db.documents:publish"), "edit"),
    Window("W19", "index", "a revision is committed, but not told", before_telling(State.INDEXED), "edit"),
    Window(
        "W20",
        "index",
        "a revision is told, but the blobs of the one before are not deleted",
        Place("db.blob_uses:sweep", True, lambda call: call["of"] is not None),
        "edit",
    ),
    Window("W21", "index", "a blob is deleted, but not forgotten", after("db.blobs:Blobs.delete"), "edit"),
    Window(
        "W22", "index", "everything is done, but not acknowledged", after("streams.index:IndexStage.handle"), "edit"
    ),
    Window(
        "W23", "index", "a failure and its letter are committed, but not told", before_telling(State.FAILED), "fail"
    ),
    Window("W24", "index", "a failure is told, but its letter not sent", before_sending(DEAD_LETTER), "fail"),
    Window("W25", "index", "a letter is sent, but not noted as sent", after_sending(DEAD_LETTER), "fail"),
    Window("W26", "index", "a deletion is committed, but not told", before_telling(State.DELETED), "delete"),
    Window(
        "W27",
        "answer",
        "a question is stored, but not answered",
        Place("streams.answer:AnswerStage._retrieve", True),
        "ask",
    ),
    Window(
        "W28", "answer", "the first piece of an answer is told, but nothing stored", after_sending(CHAT_EVENTS), "ask"
    ),
    Window(
        "W29",
        "answer",
        "an answer is stored, but not told as completed",
        after("streams.answer:AnswerStage._store"),
        "ask",
    ),
    Window(
        "W30", "answer", "an answer is told, but not acknowledged", after("streams.answer:AnswerStage.handle"), "ask"
    ),
]
SLEEPS = [
    Window("Z1", "parse", "before a run is noted", Place("db.processing:begin_runs", True)),
    Window("Z2", "index", "before an event is applied", Place("db.documents:apply", True)),
    Window("Z3", "answer", "before an answer is stored", Place("streams.answer:AnswerStage._store", True), "ask"),
]
"""Where no process needs to end, but one may fall asleep and wake late."""
BY_NAME = {window.name: window for window in (*WINDOWS, *SLEEPS)}
