"""The published contract, made from the models and the topics: a JSON Schema per event and one AsyncAPI document.

``python -m schemas.generate`` writes it, ``--check`` only compares, ``--release`` makes it the one to stay compatible
with.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from schemas.compatibility import Contract, breaks, may_release
from schemas.events import DocumentEmbedded, Event
from schemas.examples import EXAMPLES
from schemas.topics import CHAT_EVENTS, CHAT_REQUESTED, CHUNKED, DEAD_LETTER, EMBEDDED, STATUS, SUBMITTED, TOPICS, Topic
from schemas.wire import JSON, JSON_WITH_BINARY, REQUIRED_HEADERS, SOURCE

VERSION = "1.0.0"
"""Of the contract: the minor is raised for an addition, the major for a break."""

ASYNCAPI = "asyncapi.json"
CURRENT = Path(__file__).parent / "contract"
RELEASED = Path(__file__).parent / "released"

ACTIONS: tuple[tuple[str, str, Topic, str], ...] = (
    ("submitDocuments", "send", SUBMITTED, "The gateway writes what was asked of it over HTTP."),
    ("parseDocuments", "receive", SUBMITTED, "The parse worker extracts and chunks."),
    ("emitChunks", "send", CHUNKED, "The parse worker passes batches of chunks on."),
    ("embedChunks", "receive", CHUNKED, "The embed worker computes vectors."),
    ("emitEmbeddings", "send", EMBEDDED, "The embed worker passes the batches on with their vectors."),
    ("indexEmbeddings", "receive", EMBEDDED, "The index worker stores the chunks."),
    ("reportStatus", "send", STATUS, "Every stage reports where a document stands."),
    ("followDocuments", "receive", STATUS, "The gateway relays progress to whoever follows a document."),
    ("setAside", "send", DEAD_LETTER, "Every stage sets aside what it could not process."),
    ("requestAnswer", "send", CHAT_REQUESTED, "The gateway passes a question on."),
    ("answerQuestions", "receive", CHAT_REQUESTED, "The answer worker retrieves and answers."),
    ("emitAnswers", "send", CHAT_EVENTS, "The answer worker tells the answer as it comes about."),
    ("relayAnswers", "receive", CHAT_EVENTS, "The gateway relays the answer to whoever asked."),
)
"""What Millrace does on each topic: operation, action, topic, summary."""

CLOUDEVENTS_HEADERS: dict[str, dict[str, Any]] = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": {"type": "string", "minLength": 1, "description": "Unique within its source."},
    "ce_source": {"type": "string", "minLength": 1, "description": f"Who made it; '{SOURCE}' for Millrace's own."},
    "ce_time": {"type": "string", "format": "date-time"},
    "content-type": {"type": "string"},
    "traceparent": {"type": "string", "description": "W3C trace context."},
}
ERROR_HEADERS: dict[str, dict[str, Any]] = {
    "error_type": {"type": "string", "description": "Stable name of the error."},
    "error_message": {"type": "string", "description": "What went wrong, in a sentence."},
    "error_stage": {"type": "string", "description": "The stage that gave up."},
    "error_attempt": {"type": "string", "pattern": "^[0-9]+$", "description": "How often it was tried."},
    "error_letter": {"type": "string", "description": "The letter's id; the same letter may come more than once."},
    "error_topic": {"type": "string", "description": "Where the original was read."},
    "error_partition": {"type": "string", "pattern": "^[0-9]+$"},
    "error_offset": {"type": "string", "pattern": "^[0-9]+$"},
    "error_timestamp": {"type": "string", "pattern": "^[0-9]+$", "description": "The original's, in milliseconds."},
}


class _ContractSchema(GenerateJsonSchema):
    """Pydantic's JSON Schema without what is OpenAPI's alone."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        json_schema = super().tagged_union_schema(schema)
        json_schema.pop("discriminator", None)
        return json_schema

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        inner = field["schema"]
        # A tag with a default spares Python callers, yet must be written: it tells the members of a union apart.
        tag = inner["type"] == "default" and inner["schema"]["type"] == "literal"
        return tag or super().field_is_required(field, total)


def contract() -> Contract:
    """The contract as today's models and topics say it: file name to JSON document."""
    files = {schema_file(event): event_schema(event) for topic in TOPICS for event in topic.events}
    return {ASYNCAPI: asyncapi()} | files


def schema_file(event: type[Event]) -> str:
    """The name of an event's JSON Schema file."""
    return f"{event.event_type}.json"


def event_schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's body."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:millrace:event:{event.event_type}",
        **event.model_json_schema(schema_generator=_ContractSchema),
        "examples": [_body(example) for example in EXAMPLES[event]],
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document over all topics."""
    messages = {event.event_type: _message(event, topic.key) for topic in TOPICS for event in topic.events}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Millrace",
            "version": VERSION,
            "description": "Documents and chat events on their way through Kafka. "
            "Events are CloudEvents 1.0 in Kafka's binary mode: attributes in headers, the body in JSON.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {
            "kafka": {
                "host": "{host}:{port}",
                "protocol": "kafka",
                "description": "A Kafka cluster; Millrace is tested with Apache Kafka 4.",
                "variables": {
                    "host": {"default": "127.0.0.1", "description": "One of the brokers."},
                    "port": {"default": "9092", "description": "Its port."},
                },
            }
        },
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            name: {"action": action, "channel": _ref("channels", topic.name), "summary": summary}
            for name, action, topic, summary in ACTIONS
        },
        "components": {"messages": messages | {DEAD_LETTER.name: _dead_letter()}},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    names = [event.event_type for event in topic.events] or [topic.name]
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: _ref("components", "messages", name) for name in names},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(event: type[Event], key: str) -> dict[str, Any]:
    headers = CLOUDEVENTS_HEADERS | {"ce_type": {"type": "string", "const": event.event_type}}
    required = list(REQUIRED_HEADERS)
    content_type = JSON
    if event is DocumentEmbedded:
        content_type = JSON_WITH_BINARY
        offset = {"type": "string", "pattern": "^[0-9]+$", "description": "Bytes of JSON; the vectors follow them."}
        headers |= {"ce_binaryoffset": offset, "content-type": {"type": "string", "const": content_type}}
        required.append("ce_binaryoffset")
    schema = event_schema(event)
    return {
        "name": event.event_type,
        "title": schema["title"],
        "summary": schema["description"],
        "contentType": content_type,
        "headers": {"type": "object", "properties": headers, "required": required},
        "payload": {"$ref": f"./{schema_file(event)}"},
        "bindings": {"kafka": {"key": _key_schema(schema, key), "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": DEAD_LETTER.name,
        "title": "Dead letter",
        "summary": DEAD_LETTER.description,
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "description": "The headers of the original, and these.",
            "properties": ERROR_HEADERS,
            "required": list(ERROR_HEADERS),
        },
        "payload": {"description": "The bytes of the original, unchanged."},
        "bindings": {"kafka": {"key": {"description": "The key of the original."}, "bindingVersion": "0.5.0"}},
    }


def _key_schema(schema: dict[str, Any], key: str) -> dict[str, Any]:
    parts = [schema["properties"][name]["pattern"].removeprefix("^").removesuffix("$") for name in key.split("/")]
    return {
        "type": "string",
        "description": f"{key}, as in the body; partitioned by murmur2, as Kafka's Java client does it.",
        "pattern": f"^{'/'.join(parts)}$",
    }


def _body(event: Event) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude_none=True)


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def rendered(files: Contract) -> dict[str, str]:
    """The text of each file."""
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in files.items()}


def read(folder: Path) -> Contract:
    """The contract that was written into a folder."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def stale(folder: Path) -> list[str]:
    """Names of the files that differ from today's contract, are missing, or do not belong to it."""
    wanted = rendered(contract())
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path) -> None:
    """Make a folder hold today's contract and nothing else."""
    folder.mkdir(exist_ok=True)
    wanted = rendered(contract())
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Also make it the released contract.")] = False,
) -> None:
    """Write the published contract."""
    if check:
        if names := stale(CURRENT):
            typer.echo(f"Stale: {', '.join(names)}. Run `python -m schemas.generate`.", err=True)
            raise typer.Exit(1)
        return
    write(CURRENT)
    if release:
        found = breaks(read(RELEASED), contract())
        if found and not may_release(read(RELEASED), contract()):
            typer.echo(
                "\n".join([*found, "Not released: raise the major of the contract's VERSION to break."]), err=True
            )
            raise typer.Exit(1)
        write(RELEASED)


if __name__ == "__main__":
    typer.run(main)
