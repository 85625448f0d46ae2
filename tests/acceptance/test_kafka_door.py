"""The way in over Kafka, with a client that is not ours: kcat, which stands on librdkafka."""

import asyncio
import json
import subprocess
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import murmur2

from db.errors import BlobMissing
from millrace.client import Gateway
from schemas.errors import InvalidEvent
from schemas.events import DocumentSubmitted, State
from schemas.topics import DEAD_LETTER, PIPELINE_PARTITIONS, STATUS, SUBMITTED
from schemas.wire import decode
from streams.parse import ForeignContent
from tests.acceptance.topics import Reader, Statuses, read_status
from tests.conftest import Broker

HEADERS = {
    "ce_specversion": "1.0",
    "ce_type": "millrace.document.submitted",
    "ce_source": "by-hand",
    "content-type": "application/json",
}
STATES = list(State)
"""In the order of their course."""


def kcat(kafka: Broker, value: bytes, *options: str) -> None:
    """Produce one record."""
    command = ["kcat", "-P", "-b", kafka.bootstrap_servers, "-t", SUBMITTED.name, *options]
    done = subprocess.run(command, input=value, check=False, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr


def submission(tenant: str, document_id: str, text: str = "The locking pin is painted yellow.") -> dict[str, Any]:
    """A valid body."""
    return {
        "tenant_id": tenant,
        "document_id": document_id,
        "media_type": "text/plain",
        "content": {"kind": "text", "text": text},
    }


def headers(**others: str | None) -> list[str]:
    """The options for a valid event's headers, some of them changed, or left out where None."""
    all_of_them = {**HEADERS, "ce_id": uuid.uuid4().hex, **others}
    return [part for name, value in all_of_them.items() if value is not None for part in ("-H", f"{name}={value}")]


def submit(kafka: Broker, event: dict[str, Any], partitioner: str) -> None:
    """Produce a valid submission, as docs/events.md shows."""
    key = f"{event['tenant_id']}/{event['document_id']}"
    kcat(kafka, json.dumps(event).encode(), "-k", key, "-X", f"partitioner={partitioner}", *headers())


def place_in_java(key: str) -> int:
    """Where Kafka's own client puts a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PIPELINE_PARTITIONS


def misplaced(tenant: str) -> str:
    """A document id whose key librdkafka by default puts elsewhere, by CRC 32."""
    ids = (f"note-{number}" for number in range(1_000))
    return next(
        each
        for each in ids
        if zlib.crc32(f"{tenant}/{each}".encode()) % PIPELINE_PARTITIONS != place_in_java(f"{tenant}/{each}")
    )


async def test_a_document_by_hand_is_found(kafka: Broker, client: Gateway, tenant: str) -> None:
    async with Statuses.following(kafka.bootstrap_servers) as statuses:
        submit(kafka, submission(tenant, "pin"), "murmur2_random")
        course = await statuses.course(tenant, "pin")
    assert course[-1].state is State.INDEXED
    [hit] = (await client.search("Which colour has the locking pin?"))["hits"]
    assert hit["document_id"] == "pin"
    assert "yellow" in hit["text"]


async def test_a_document_on_another_partition_than_javas_is_found_in_its_order(
    kafka: Broker, client: Gateway, tenant: str
) -> None:
    document_id = misplaced(tenant)
    async with Statuses.following(kafka.bootstrap_servers) as statuses:
        for colour in ("yellow", "green", "red"):
            text = f"The locking pin is painted {colour}."
            submit(kafka, submission(tenant, document_id, text), "consistent_random")
        last = [(await statuses.course(tenant, document_id))[-1] for _ in range(3)]
    assert [status.state for status in last] == [State.INDEXED] * 3
    assert {status.origin.partition for status in last} == {place_in_java(f"{tenant}/{document_id}")}
    [hit] = (await client.search("Which colour has the locking pin?"))["hits"]
    assert hit["text"] == "The locking pin is painted red."
    assert hit["revision"] == max(status.revision for status in last)


async def test_the_status_topic_tells_the_course_in_order(kafka: Broker, client: Gateway, tenant: str) -> None:
    # Nested, so that to parse it takes long enough to be told of.
    text = "\n\n".join(f"- > {number}. The locking pin of mill {number} is painted yellow." for number in range(4_000))
    async with Statuses.following(kafka.bootstrap_servers) as statuses:
        submit(kafka, submission(tenant, "long", text) | {"media_type": "text/markdown"}, "murmur2_random")
        course = await statuses.course(tenant, "long")
    assert [status.state for status in course] == sorted((status.state for status in course), key=STATES.index)
    assert {status.state for status in course} == {State.PARSING, State.EMBEDDING, State.INDEXING, State.INDEXED}
    done = [status.chunks_done for status in course]
    assert done == sorted(done)
    assert course[-1].chunks_done == course[-1].chunks_total == done[-1]
    assert len({status.origin for status in course}) == 1
    stored = await client.status("long")
    assert (stored["state"], stored["chunks_done"]) == ("indexed", done[-1])


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that does not follow the contract."""

    value: bytes | None
    reason: str
    """What its error message tells."""
    error: str = InvalidEvent.type
    key: str | None = None
    """The document's own if None; then the document ends as failed, whatever else the record is."""
    header_options: Sequence[str] = field(default_factory=headers)


def malformed(tenant: str) -> dict[str, Malformed]:
    """The cases, for a tenant's document named 'pin'."""
    event = submission(tenant, "pin")
    body = json.dumps(event).encode()

    def changed(**others: Any) -> bytes:
        return json.dumps({**event, **others}).encode()

    def blob(key: str) -> bytes:
        return changed(content={"kind": "blob", "key": key, "size_bytes": 5})

    return {
        "not JSON": Malformed(b"\x00\xff not JSON \x80", "Invalid JSON"),
        "half of the JSON": Malformed(body[:40], "Invalid JSON"),
        "empty value": Malformed(b"{}", "Field required"),
        "null value": Malformed(None, "Invalid JSON"),
        "no headers": Malformed(body, "ce_specversion is missing", header_options=()),
        "no type": Malformed(body, "ce_type is missing", header_options=headers(ce_type=None)),
        "header without a value": Malformed(
            body, "ce_id has no value", header_options=[*headers(ce_id=None), "-H", "ce_id"]
        ),
        "header twice": Malformed(
            body, "ce_id is given twice", header_options=[*headers(ce_id="a"), "-H", "ce_id=b", "-H", "colour=red"]
        ),
        # The lone surrogate is Python's way to pass the byte 0xFF on.
        "header name not UTF-8": Malformed(body, "CloudEvent", header_options=[*headers(), "-H", "ce_\udcff=red"]),
        "unknown type": Malformed(
            body, "millrace.document.burnt", header_options=headers(ce_type="millrace.document.burnt")
        ),
        "another topic's type": Malformed(
            body, "millrace.document.status", header_options=headers(ce_type="millrace.document.status")
        ),
        "other version": Malformed(body, "CloudEvent", header_options=headers(ce_specversion="0.1")),
        "another document's key": Malformed(body, "The key is", key=f"{tenant}/other"),
        "another tenant's key": Malformed(body, "The key is", key="somebody/pin"),
        "no key": Malformed(body, "The key is", key=""),
        "no content": Malformed(json.dumps({**event, "content": None}).encode(), "content"),
        "wrong media type": Malformed(changed(media_type="text"), "media_type"),
        "text with NUL": Malformed(changed(content={"kind": "text", "text": "a\0b"}), "content"),
        "blob key with dots": Malformed(blob(f"{tenant}/../other/secret"), "content.blob.key"),
        "another tenant's blob": Malformed(blob("other/secret"), ForeignContent.title(), error=ForeignContent.type),
        "blob that is not there": Malformed(
            blob(f"{tenant}/originals/none"), BlobMissing.title(), error=BlobMissing.type
        ),
    }


@pytest.mark.parametrize("name", malformed("any"))
async def test_a_malformed_event_is_set_aside_whole_and_the_next_one_passes(
    kafka: Broker, client: Gateway, tenant: str, name: str
) -> None:
    case = malformed(tenant)[name]
    partition = place_in_java(f"{tenant}/pin")
    key = f"{tenant}/pin" if case.key is None else case.key
    options = ["-p", str(partition), *case.header_options]
    bootstrap = kafka.bootstrap_servers
    async with Reader.of(DEAD_LETTER, bootstrap) as letters, Statuses.following(bootstrap) as statuses:
        async with Reader.of(SUBMITTED, bootstrap) as submitted:
            if case.value is None:
                # kcat's way of saying it: the key alone, and -Z, which makes what is empty null.
                kcat(kafka, f"{key}|\n".encode(), "-Z", "-K", "|", *options)
            else:
                kcat(kafka, case.value, *options, *(["-k", key] if key else []))
            original = await submitted.next(lambda record: record.partition == partition)
        submit(kafka, submission(tenant, "pin"), "murmur2_random")
        letter = await letters.next(lambda record: is_of(record, original))
        course = await statuses.course(tenant, "pin")
        if case.key is None:
            assert course[-1].error is not None
            assert (course[-1].state, course[-1].error.type) == (State.FAILED, case.error)
            course = await statuses.course(tenant, "pin")
    assert (original.value, original.key) == (case.value, key.encode() or None)
    assert letter.key == original.key
    told = {name: value.decode() for name, value in letter.headers if name.startswith("error_")}
    if case.error in {"foreign-content", "content-missing"}:
        # It was an event, and its letter is that event, as it would be submitted again.
        assert submitted_in(letter) == submitted_in(original)
        told["error_timestamp"] = str(original.timestamp)
    else:
        assert letter.value == original.value
        assert letter.headers[: len(original.headers)] == original.headers
    assert case.reason in told.pop("error_message")
    assert told.pop("error_letter").startswith(f"{SUBMITTED.name}-{partition}-")
    assert told == {
        "error_type": case.error,
        "error_stage": "parse",
        "error_attempt": "1",
        "error_topic": SUBMITTED.name,
        "error_partition": str(partition),
        "error_offset": str(original.offset),
        "error_timestamp": str(original.timestamp),
    }
    assert course[-1].state is State.INDEXED
    assert course[-1].origin.partition == partition
    [hit] = (await client.search("Which colour has the locking pin?"))["hits"]
    assert hit["document_id"] == "pin"


def submitted_in(record: ConsumerRecord) -> DocumentSubmitted:
    event, _ = decode((DocumentSubmitted,), record.key, record.value, record.headers)
    return event


def is_of(letter: ConsumerRecord, original: ConsumerRecord) -> bool:
    """Whether a dead letter is about a record."""
    told = dict(letter.headers)
    return (told["error_partition"], told["error_offset"]) == (
        str(original.partition).encode(),
        str(original.offset).encode(),
    )


async def test_a_dead_letter_can_be_sent_again(
    kafka: Broker, client: Gateway, tenant: str, environment: dict[str, str]
) -> None:
    """Everything needed is in it: mend what was wrong (here a blob that came late), and produce it once more."""
    key = f"{tenant}/originals/late"
    event = {**submission(tenant, "late"), "content": {"kind": "blob", "key": key, "size_bytes": 34}}
    bootstrap = kafka.bootstrap_servers
    async with Reader.of(DEAD_LETTER, bootstrap) as letters, Statuses.following(bootstrap) as statuses:
        submit(kafka, event, "murmur2_random")
        letter = await letters.next(lambda record: record.key == f"{tenant}/late".encode())
        assert (await statuses.course(tenant, "late"))[-1].state is State.FAILED
        blob = Path(environment["MILLRACE_BLOBS_URL"]) / key
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_text("The locking pin is painted yellow.")
        own = [(name, value.decode()) for name, value in letter.headers if not name.startswith("error_")]
        options = [part for name, value in own for part in ("-H", f"{name}={value}")]
        kcat(kafka, letter.value, "-k", letter.key.decode(), "-X", "partitioner=murmur2_random", *options)
        assert (await statuses.course(tenant, "late"))[-1].state is State.INDEXED


async def test_the_status_topic_alone_tells_the_newest_state(kafka: Broker, client: Gateway, tenant: str) -> None:
    """Whoever reads it from the beginning ends with the final state of every document of ours."""
    ids = [f"note-{number}" for number in range(20)]
    accepted = [await client.add_text("The locking pin is painted yellow.", document_id=each) for each in ids]
    await client.search("pin", position=accepted[-1]["position"])
    await asyncio.gather(*(finished(client, each) for each in ids))
    newest: dict[bytes, State] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(STATUS.name, number) for number in range(STATUS.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                record = await consumer.getone(partition)
                if (record.key or b"").startswith(f"{tenant}/".encode()):
                    newest[record.key] = read_status(record).state
    finally:
        await consumer.stop()
    assert {newest[f"{tenant}/{each}".encode()] for each in ids} == {State.INDEXED}


async def finished(client: Gateway, document_id: str) -> None:
    async for _ in client.follow(document_id):
        pass
