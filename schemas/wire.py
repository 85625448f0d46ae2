"""Events on the wire: CloudEvents 1.0 in Kafka binary mode.

Attributes ride in ``ce_`` headers, the body is JSON. A body may be followed by raw bytes (vectors): the extension
attribute ``ce_binaryoffset`` then says where the JSON ends. W3C ``traceparent`` rides beside them.
"""

import re
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import orjson
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.base import Format
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from schemas.errors import InvalidEvent
from schemas.events import Event, now

SOURCE = "millrace"
JSON = "application/json"
JSON_WITH_BINARY = "application/vnd.millrace.json-and-binary"

VECTOR_TYPE = "<f2"
"""Vectors behind a body: little-endian float16, one after the other."""
REQUIRED_HEADERS = ("ce_specversion", "ce_id", "ce_source", "ce_type")

Headers = Sequence[tuple[str, bytes | None]]
"""As a Kafka consumer hands them over; the protocol allows a header without a value."""
E = TypeVar("E", bound=Event)


class Record(NamedTuple):
    """What a Kafka producer is given."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class _Untouched(Format):
    """Leaves the body alone: pydantic reads JSON bytes faster than it reads what another parser made of them."""

    def read(self, event_factory: Any, data: Any) -> BaseCloudEvent:
        raise TypeError("structured mode is not used")

    def write(self, event: BaseCloudEvent) -> bytes:
        raise TypeError("structured mode is not used")

    def write_data(self, data: Any, datacontenttype: str | None) -> bytes:
        return bytes(data)

    def read_data(self, body: bytes, datacontenttype: str | None) -> bytes:
        return body

    def get_content_type(self) -> str:
        return JSON


_UNTOUCHED = _Untouched()


def encode(event: Event, *, binary: bytes | None = None, traceparent: str | None = None) -> Record:
    """Make the Kafka record of an event, with ``binary`` behind its JSON body if given."""
    body = orjson.dumps(event.model_dump(mode="json", exclude_none=True))
    attributes: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "type": event.event_type,
        "specversion": "1.0",
        "time": now(),
        "datacontenttype": JSON if binary is None else JSON_WITH_BINARY,
    }
    if binary is not None:
        attributes["binaryoffset"] = str(len(body))
        body += binary
    message = to_binary(CloudEvent(attributes, body), _UNTOUCHED)
    headers = list(message.headers.items())
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return Record(event.key(), message.value, headers)


def ids_of(key: bytes | None) -> tuple[str, str]:
    """Tenant and document (or conversation) as a key says them; empty where it says nothing of the kind."""
    tenant_id, _, subject_id = (key or b"").decode(errors="replace").partition("/")
    return tenant_id, subject_id


def decode(kinds: Sequence[type[E]], key: bytes | None, value: bytes | None, headers: Headers) -> tuple[E, memoryview]:
    """Read a record as one of ``kinds``: the event, and the raw bytes behind its body (empty if there are none).

    Raises `InvalidEvent`, with what is wrong and where, for anything that does not follow the contract.
    """
    attributes = _attributes(value, headers)
    kind = next((kind for kind in kinds if kind.event_type == attributes.get("type")), None)
    if kind is None:
        expected = ", ".join(kind.event_type for kind in kinds)
        raise InvalidEvent(f"ce_type is {attributes.get('type')!r:.200}, where this topic carries {expected}.")
    body = memoryview(value or b"")
    split = _binary_offset(attributes, len(body))
    try:
        event = kind.model_validate_json(bytes(body[:split]), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidEvent(f"{where:.200}: {first['msg']} ({error.error_count()} in all).") from error
    if key != event.key():
        raise InvalidEvent(f"The key is {key!r:.300}, where the body says {event.key()!r}; order depends on it.")
    return event, body[split:]


def _attributes(value: bytes | None, headers: Headers) -> dict[str, Any]:
    own: dict[str, bytes] = {}
    # Headers of other makers may be no text at all; only CloudEvents' own are read.
    for name, data in headers:
        attribute = name.lower()
        if attribute.startswith("ce_") or attribute == "content-type":
            if data is None or attribute in own:
                raise InvalidEvent(
                    f"The header {attribute:.80} {'has no value' if data is None else 'is given twice'}."
                )
            own[attribute] = data
    if missing := [name for name in REQUIRED_HEADERS if name not in own]:
        raise InvalidEvent(f"The header {missing[0]} is missing.")
    try:
        return dict(from_binary(KafkaMessage(own, None, value or b""), _UNTOUCHED, CloudEvent).get_attributes())
    except (BaseCloudEventException, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InvalidEvent(f"Not a CloudEvent in binary mode: {reason:.300}.") from error


def _binary_offset(attributes: dict[str, Any], length: int) -> int:
    offset = attributes.get("binaryoffset")
    if offset is None:
        return length
    if not re.fullmatch("[0-9]{1,10}", offset) or int(offset) > length:
        raise InvalidEvent(f"ce_binaryoffset is {offset!r:.40} in a body of {length} bytes.")
    return int(offset)
