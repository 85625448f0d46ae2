"""Whether two contracts get on: every break between a released one and today's, in words.

Both directions count. The log is kept for ever, so new readers must read old events; and during a rolling update, or at
somebody else's, old readers must read new ones. Both are one question, asked twice: does the reader's schema accept
whatever the writer's schema allows? Readers ignore unknown fields, so adding an optional field is no break. (The
general subset checkers for JSON Schema call it one, since an undeclared field might hold anything.)
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Contract = Mapping[str, dict[str, Any]]
"""File name to JSON document: ``asyncapi.json`` beside the schemas that it refers to."""

_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default", "examples", "deprecated"}
_STRUCTURE = {"type", "enum", "const", "properties", "required", "items", "additionalProperties"}
_UPPER = {"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"}
_LOWER = {"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"}


def breaks(old: Contract, new: Contract) -> list[str]:
    """What no longer works between readers and writers of two contracts; empty if all does, or nothing was released."""
    return sorted({*_topic_breaks(old, new)} | {*_event_breaks(old, new)}) if old else []


def may_release(old: Contract, new: Contract) -> bool:
    """Whether ``new`` may follow ``old``: it breaks nothing, or says so by a higher major version."""
    return not breaks(old, new) or _major(new) > _major(old)


def schema_breaks(old: Schema, new: Schema) -> list[str]:
    """What no longer works between readers and writers of two JSON Schemas."""
    backward = [f"new readers refuse old events: {words}" for words in refusals(old, new)]
    forward = [f"old readers refuse new events: {words}" for words in refusals(new, old)]
    return backward + forward + [f"{path} is gone: what is written there is lost" for path in _removed(old, new)]


def refusals(writer: Schema, reader: Schema) -> list[str]:
    """Why a reader may refuse what a writer's schema allows; empty if it never does.

    Patterns and formats are only compared as text: another pattern counts as a refusal.
    """
    return list(dict.fromkeys(_refusals(_inlined(writer, writer), _inlined(reader, reader), "body")))


def _event_breaks(old: Contract, new: Contract) -> Iterator[str]:
    messages = new["asyncapi.json"]["components"]["messages"]
    for name, message in old["asyncapi.json"]["components"]["messages"].items():
        if name not in messages:
            yield f"{name}: the event is gone"
            continue
        for part, before, after in (
            ("headers", message["headers"], messages[name]["headers"]),
            ("key", message["bindings"]["kafka"]["key"], messages[name]["bindings"]["kafka"]["key"]),
            ("payload", _payload(old, message), _payload(new, messages[name])),
        ):
            yield from (f"{name}: {part}: {words}" for words in schema_breaks(before, after))


def _topic_breaks(old: Contract, new: Contract) -> Iterator[str]:
    channels = new["asyncapi.json"]["channels"]
    for name, channel in old["asyncapi.json"]["channels"].items():
        if name not in channels:
            yield f"{name}: the topic is gone"
            continue
        for event in channel["messages"].keys() - channels[name]["messages"].keys():
            yield f"{name}: {event} no longer travels here"
        before, after = channel["bindings"]["kafka"], channels[name]["bindings"]["kafka"]
        if before["partitions"] != after["partitions"]:
            yield f"{name}: {before['partitions']} partitions became {after['partitions']}, which moves keys"
        was, now = (binding["topicConfiguration"]["cleanup.policy"] for binding in (before, after))
        if was != now:
            yield f"{name}: cleanup {'+'.join(was)} became {'+'.join(now)}"


def _payload(contract: Contract, message: Schema) -> Schema:
    payload: Schema = message["payload"]
    return contract[payload["$ref"].removeprefix("./")] if "$ref" in payload else payload


def _major(contract: Contract) -> int:
    return int(contract["asyncapi.json"]["info"]["version"].split(".")[0])


def _inlined(schema: Any, root: Schema) -> Any:
    """The schema with its references into ``$defs`` replaced by what they refer to."""
    if isinstance(schema, list):
        return [_inlined(item, root) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inlined = {name: _inlined(value, root) for name, value in schema.items() if name not in {"$ref", "$defs"}}
    if "$ref" in schema:
        inlined = _inlined(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root) | inlined
    return inlined


def _alternatives(schema: Schema) -> list[Schema]:
    """The members of a union, each with what is said beside it; a schema that is no union is its only member."""
    for union in ("anyOf", "oneOf"):
        if union in schema:
            beside = {name: value for name, value in schema.items() if name != union}
            return [member for branch in schema[union] for member in _alternatives({**beside, **branch})]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": name} for name in schema["type"]]
    return [schema]


def _refusals(writer: Schema, reader: Schema, path: str) -> Iterator[str]:
    readers = _alternatives(reader)
    for written in _alternatives(writer):
        alike = [read for read in readers if read.get("type") == written.get("type")] or readers
        yield from min((list(_member_refusals(written, read, path)) for read in alike), key=len)


def _member_refusals(writer: Schema, reader: Schema, path: str) -> Iterator[str]:
    types = {reader.get("type"), "integer" if reader.get("type") == "number" else None}
    if "type" in reader and writer.get("type") not in types - {None}:
        yield f"{path} may be {writer.get('type', 'anything')}, and {reader['type']} is read"
        return
    yield from _value_refusals(writer, reader, path)
    yield from _object_refusals(writer, reader, path)
    if "items" in reader:
        yield from _refusals(writer.get("items", {}), reader["items"], f"{path}[]")


def _value_refusals(writer: Schema, reader: Schema, path: str) -> Iterator[str]:
    if (accepted := _values(reader)) is not None:
        written = _values(writer)
        if written is None:
            yield f"{path} may be any value, and only {', '.join(map(repr, accepted))} is read"
        else:
            yield from (f"{path} may be {value!r}, which is not read" for value in written if value not in accepted)
    for name in sorted(reader.keys() - _ANNOTATIONS - _STRUCTURE):
        before, limit = writer.get(name), reader[name]
        if name in _UPPER:
            refused = before is None or before > limit
        elif name in _LOWER:
            refused = before is None or before < limit
        else:
            refused = before != limit
        if refused:
            shown = "none" if before is None else repr(before)
            yield f"{path} has {name} {shown}, and {limit!r} is read"


def _object_refusals(writer: Schema, reader: Schema, path: str) -> Iterator[str]:
    for name in sorted(set(reader.get("required", ())) - set(writer.get("required", ()))):
        yield f"{path}.{name} may be missing, and is required"
    written, read = writer.get("properties", {}), reader.get("properties", {})
    others = reader.get("additionalProperties", True)
    for name, schema in written.items():
        if name in read:
            yield from _refusals(schema, read[name], f"{path}.{name}")
        elif others is False:
            yield f"{path}.{name} may be there, and is not read"
        elif others is not True:
            yield from _refusals(schema, others, f"{path}.{name}")
    if others is False and writer.get("additionalProperties", True) is not False:
        yield f"{path} may have unknown fields, and they are refused"
    elif isinstance(others, Mapping) and writer.get("additionalProperties") is not False:
        anything = writer.get("additionalProperties", True)
        yield from _refusals({} if anything is True else anything, others, f"{path}.*")


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _removed(old: Schema, new: Schema) -> list[str]:
    return sorted(_fields(_inlined(old, old), "body") - _fields(_inlined(new, new), "body"))


def _fields(schema: Schema, path: str) -> set[str]:
    found: set[str] = set()
    for member in _alternatives(schema):
        for name, inner in member.get("properties", {}).items():
            found |= {f"{path}.{name}"} | _fields(inner, f"{path}.{name}")
        for part, suffix in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(member.get(part), Mapping):
                found |= _fields(member[part], f"{path}{suffix}")
    return found
