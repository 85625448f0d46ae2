"""Any event survives the wire, and anything else is refused in words."""

import math
from datetime import UTC
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from schemas.errors import InvalidEvent
from schemas.events import (
    BlobContent,
    ChatCompleted,
    ChatDelta,
    ChatFailed,
    ChatRequested,
    Chunk,
    Citation,
    DocumentCancelled,
    DocumentChunked,
    DocumentDeleted,
    DocumentDropped,
    DocumentEmbedded,
    DocumentFailed,
    DocumentForgotten,
    DocumentResubmitted,
    DocumentStatus,
    DocumentSubmitted,
    Event,
    ExtractedDocument,
    Failure,
    Origin,
    Place,
    SearchFilters,
    State,
    TextContent,
)
from schemas.examples import EXAMPLES
from schemas.generate import event_schema
from schemas.topics import TOPICS
from schemas.wire import REQUIRED_HEADERS, Headers, decode, encode

KINDS = tuple(EXAMPLES)
VALIDATORS = {kind.event_type: Draft202012Validator(event_schema(kind)) for kind in KINDS}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
tags = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
naturals = st.integers(0, 2**53 - 1)
tenant_ids = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
document_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}", fullmatch=True)
conversation_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}", fullmatch=True)
blob_keys = st.from_regex(r"[a-z0-9]{1,8}(/[A-Za-z0-9~_-][A-Za-z0-9._~-]{0,8}){1,3}", fullmatch=True)
media_types = st.from_regex(r"[a-z0-9!#$&^_.+-]{1,20}/[a-z0-9!#$&^_.+-]{1,20}", fullmatch=True)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
metadata = st.dictionaries(texts, json_values, max_size=4)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def tuples_of(strategy: st.SearchStrategy[Any], min_size: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=min_size, max_size=3).map(tuple)


contents = st.builds(TextContent, text=texts) | st.builds(
    BlobContent,
    key=blob_keys,
    size_bytes=naturals,
    sha256=maybe(st.from_regex("[0-9a-f]{64}", fullmatch=True)),
)
attributes = {
    "media_type": media_types,
    "filename": maybe(texts),
    "title": maybe(texts),
    "collection": maybe(tags),
    "tags": tuples_of(tags),
    "metadata": metadata,
}
origins = st.builds(Origin, partition=st.integers(0, 2**31 - 1), position=st.integers(1, 2**53 - 1))
failures = st.builds(Failure, type=texts, message=st.text(max_size=30), stage=texts, attempt=st.integers(1, 100))
document = {"tenant_id": tenant_ids, "document_id": document_ids}
derived = {**document, "origin": origins}
chat = {"tenant_id": tenant_ids, "conversation_id": conversation_ids, "request_id": tags}
chunks = st.builds(
    Chunk,
    ordinal=naturals,
    text=texts,
    start=naturals,
    end=naturals,
    page=maybe(st.integers(1, 10_000)),
    heading_path=tuples_of(texts),
    places=tuples_of(st.builds(Place, start=naturals, page=maybe(st.integers(1, 10_000)))),
    token_count=naturals,
    content_hash=st.from_regex("[0-9a-f]{32}", fullmatch=True),
)
batch = {
    **derived,
    "document": st.builds(
        ExtractedDocument,
        **attributes,
        blob_key=blob_keys,
        text_key=blob_keys,
        size_bytes=naturals,
        text_chars=naturals,
        page_count=maybe(naturals),
    ),
    "chunks": tuples_of(chunks, min_size=1),
    "chunk_total": st.integers(1, 10_000),
}
filters = st.builds(
    SearchFilters,
    document_ids=maybe(tuples_of(document_ids, min_size=1)),
    collection=maybe(tags),
    tags=maybe(tuples_of(tags, min_size=1)),
    media_types=maybe(tuples_of(media_types, min_size=1)),
    metadata=maybe(metadata),
)
citations = st.builds(
    Citation,
    number=st.integers(1, 99),
    document_id=document_ids,
    revision=naturals,
    title=maybe(texts),
    filename=maybe(texts),
    page=maybe(st.integers(1, 10_000)),
    heading_path=tuples_of(texts),
    start=naturals,
    end=naturals,
    quote=texts,
)
states = st.sampled_from(State)
times = st.datetimes(timezones=st.just(UTC))
BY_KIND: dict[type[Event], st.SearchStrategy[Any]] = {
    DocumentSubmitted: st.builds(DocumentSubmitted, **document, **attributes, content=contents),
    DocumentDeleted: st.builds(DocumentDeleted, **document),
    DocumentCancelled: st.builds(DocumentCancelled, **document),
    DocumentResubmitted: st.builds(DocumentResubmitted, **document, revision=maybe(st.integers(1, 2**53 - 1))),
    DocumentChunked: st.builds(DocumentChunked, **batch),
    DocumentEmbedded: st.builds(DocumentEmbedded, **batch, embedder=texts, dimensions=st.integers(1, 4_000)),
    DocumentFailed: st.builds(DocumentFailed, **derived, error=failures),
    DocumentForgotten: st.builds(DocumentForgotten, **derived),
    DocumentDropped: st.builds(DocumentDropped, **derived, error=maybe(failures)),
    DocumentStatus: st.builds(
        DocumentStatus, **derived, state=states, title=maybe(texts), error=maybe(failures), at=times
    ),
    ChatRequested: st.builds(ChatRequested, **chat, message=tags, filters=maybe(filters)),
    ChatDelta: st.builds(ChatDelta, **chat, index=naturals, text=texts),
    ChatCompleted: st.builds(ChatCompleted, **chat, message_id=texts, answer=texts, citations=tuples_of(citations)),
    ChatFailed: st.builds(ChatFailed, **chat, error=failures),
}
events = st.one_of(*BY_KIND.values())


def test_every_event_of_every_topic_is_among_these() -> None:
    assert {event for topic in TOPICS for event in topic.events} == set(BY_KIND) == set(EXAMPLES)


@given(events, st.none() | st.binary(max_size=64))
def test_any_event_comes_back_as_it_was(event: Event, binary: bytes | None) -> None:
    record = encode(event, binary=binary, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    decoded, tail = decode(KINDS, *record)
    assert decoded == event
    assert tail == (binary or b"")


@given(events)
def test_the_published_schema_accepts_any_event(event: Event) -> None:
    VALIDATORS[event.event_type].validate(orjson.loads(encode(event).value))


@given(st.sampled_from(KINDS), st.data())
def test_what_the_model_takes_the_published_schema_takes_and_the_other_way_round(
    kind: type[Event], data: st.DataObject
) -> None:
    """Bodies beside the contract: one field at a time is taken away or replaced."""
    body = orjson.loads(encode(EXAMPLES[kind][0]).value)
    place = body
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[name], dict) and place[name] and data.draw(st.booleans())):
            break
        place = place[name]
    if data.draw(st.booleans()):
        del place[name]
    else:
        place[name] = data.draw(json_values)
    try:
        decode(KINDS, _key_of(body), orjson.dumps(body), encode(EXAMPLES[kind][0]).headers)
        taken = True
    except InvalidEvent:
        taken = False
    assert VALIDATORS[kind.event_type].is_valid(body) == taken, body


def _key_of(body: dict[str, Any]) -> bytes:
    return f"{body.get('tenant_id')}/{body.get('document_id', body.get('conversation_id'))}".encode()


headers_like_ours = st.sampled_from(
    ["ce_specversion", "ce_type", "ce_id", "ce_source", "ce_time", "ce_binaryoffset", "content-type", "CE_TYPE", "ce_"]
)
hostile_headers = st.lists(
    st.tuples(
        headers_like_ours | st.text(max_size=12),
        st.none()
        | st.binary(max_size=12)
        | st.sampled_from(
            [b"1.0", b"0.3", *(kind.event_type.encode() for kind in KINDS), b"9" * 5_000, b"9999-12-31T24:00:00Z", b""]
        ),
    ),
    max_size=8,
)


@given(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200), hostile_headers)
def test_anything_at_all_is_read_or_refused(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    with pytest.raises(InvalidEvent):
        decode(KINDS, key, value, headers)


@given(events, hostile_headers, st.data())
def test_a_damaged_event_is_read_or_refused(event: Event, headers: Headers, data: st.DataObject) -> None:
    record = encode(event)
    value = bytearray(record.value)
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.lists(st.sampled_from(record.headers), unique=True))
    try:
        decoded, _ = decode(KINDS, record.key, bytes(value), [*kept, *headers])
    except InvalidEvent as error:
        assert len(str(error)) < 2_000
    else:
        assert decoded.key() == record.key


SUBMITTED = EXAMPLES[DocumentSubmitted][0]


def decode_with(changes: dict[str, bytes | None], **fields: bytes) -> None:
    key, value, headers = encode(SUBMITTED)
    merged: dict[str, bytes | None] = {**dict(headers), **changes}
    decode(KINDS, fields.get("key", key), fields.get("value", value), list(merged.items()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ce_type": None}, "The header ce_type has no value"),
        ({"ce_type": b"\xff"}, "Not a CloudEvent"),
        ({"ce_type": b"millrace.document.unknown"}, "ce_type is 'millrace.document.unknown', where"),
        ({"CE_TYPE": b"millrace.document.deleted"}, "The header ce_type is given twice"),
        ({"CE_TYPE": b""}, "The header ce_type is given twice"),
        ({"ce_specversion": b"0.3"}, "specversion"),
        ({"ce_id": b""}, "id"),
        ({"ce_time": b"yesterday"}, "Not a CloudEvent"),
        ({"ce_time": b"9999-12-31T24:00:00Z"}, "Not a CloudEvent"),
        ({"ce_binaryoffset": b"-1"}, "ce_binaryoffset is '-1'"),
        ({"ce_binaryoffset": b"1000000"}, "ce_binaryoffset"),
        ({"ce_binaryoffset": b"9" * 5_000}, "ce_binaryoffset"),
        ({"ce_binaryoffset": "٣".encode()}, "ce_binaryoffset"),
        ({"ce_binaryoffset": b"3"}, "body: Invalid JSON"),
    ],
)
def test_bad_headers_are_named(changes: dict[str, bytes | None], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        decode_with(changes)


def test_headers_of_others_do_not_matter() -> None:
    decode_with({"x-mine": b"\xff\xfe", "y": None, "traceparent": b"\xff"})


@pytest.mark.parametrize("missing", REQUIRED_HEADERS)
def test_a_required_header_cannot_be_missing(missing: str) -> None:
    key, value, headers = encode(SUBMITTED)
    with pytest.raises(InvalidEvent, match=f"The header {missing} is missing"):
        decode(KINDS, key, value, [(name, data) for name, data in headers if name != missing])


@pytest.mark.parametrize("field", ["size_bytes", "metadata"])
def test_a_value_of_another_type_is_not_made_to_fit(field: str) -> None:
    blob = EXAMPLES[DocumentSubmitted][1]
    key, value, headers = encode(blob)
    changed = (
        value.replace(b"482113", b'"482113"') if field == "size_bytes" else value.replace(b'{"machine":"P-7"}', b"7")
    )
    assert changed != value
    with pytest.raises(InvalidEvent, match=field):
        decode(KINDS, key, changed, headers)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"\xff", b'{"tenant_id": ', b"[" * 100_000, b'{"tenant_id": ' + b"9" * 10_000 + b"}"],
)
def test_bodies_that_are_no_event_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode_with({}, value=body)


def test_a_tombstone_is_refused() -> None:
    key, _, headers = encode(SUBMITTED)
    with pytest.raises(InvalidEvent):
        decode(KINDS, key, None, headers)


@pytest.mark.parametrize("key", [None, b"", b"acme/other", b"\xff" * 100_000])
def test_a_key_that_is_not_the_bodys_is_refused_briefly(key: bytes | None) -> None:
    _, value, headers = encode(SUBMITTED)
    with pytest.raises(InvalidEvent, match="The key is") as caught:
        decode(KINDS, key, value, headers)
    assert len(str(caught.value)) < 1_000


def test_an_unknown_field_is_ignored() -> None:
    _, value, _ = encode(SUBMITTED)
    decode_with({}, value=value[:-1] + b', "since_next_year": true}')


def test_numbers_that_json_has_not_are_refused() -> None:
    body = SUBMITTED.model_dump(mode="json", exclude_none=True)
    for number in (math.nan, math.inf):
        text = str(number).replace("nan", "NaN").replace("inf", "Infinity")
        value = orjson.dumps({**body, "metadata": {"x": 7.5}}).replace(b"7.5", text.encode())
        with pytest.raises(InvalidEvent, match="metadata: Value error, not a finite number"):
            decode_with({}, value=value)
