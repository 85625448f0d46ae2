import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from schemas.compatibility import breaks, may_release, refusals, schema_breaks
from schemas.generate import RELEASED, contract, read

OLD: dict[str, Any] = {
    "$defs": {
        "Blob": {
            "type": "object",
            "properties": {"kind": {"const": "blob", "type": "string"}, "size": {"type": "integer"}},
            "required": ["kind", "size"],
        },
        "Text": {
            "type": "object",
            "properties": {"kind": {"const": "text", "type": "string"}, "text": {"type": "string", "maxLength": 10}},
            "required": ["kind", "text"],
        },
    },
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 8},
        "title": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "state": {"enum": ["new", "done"], "type": "string"},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "content": {"oneOf": [{"$ref": "#/$defs/Blob"}, {"$ref": "#/$defs/Text"}]},
    },
    "required": ["id", "content"],
}
Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(OLD)
    change(new)
    return new


def at(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["properties"][name].update(keywords)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s["required"].append("title"),
            ["new readers refuse old events: body.title may be missing, and is required"],
        ),
        (
            lambda s: s["required"].remove("id"),
            ["old readers refuse new events: body.id may be missing, and is required"],
        ),
        (
            at("count", type="string"),
            [
                "new readers refuse old events: body.count may be integer, and string is read",
                "old readers refuse new events: body.count may be string, and integer is read",
            ],
        ),
        (at("count", type="number"), ["old readers refuse new events: body.count may be number, and integer is read"]),
        (
            at("title", anyOf=[{"type": "string"}]),
            ["new readers refuse old events: body.title may be null, and string is read"],
        ),
        (
            at("title", anyOf=[{"type": "string"}, {"type": "null"}, {"type": "integer"}]),
            ["old readers refuse new events: body.title may be integer, and string is read"],
        ),
        (at("state", enum=["new"]), ["new readers refuse old events: body.state may be 'done', which is not read"]),
        (
            at("state", enum=["new", "done", "failed"]),
            ["old readers refuse new events: body.state may be 'failed', which is not read"],
        ),
        (
            lambda s: s["properties"]["state"].pop("enum"),
            ["old readers refuse new events: body.state may be any value, and only 'new', 'done' is read"],
        ),
        (
            at("id", pattern="^[a-c]+$"),
            [
                "new readers refuse old events: body.id has pattern '^[a-z]+$', and '^[a-c]+$' is read",
                "old readers refuse new events: body.id has pattern '^[a-c]+$', and '^[a-z]+$' is read",
            ],
        ),
        (at("id", maxLength=7), ["new readers refuse old events: body.id has maxLength 8, and 7 is read"]),
        (at("id", maxLength=9), ["old readers refuse new events: body.id has maxLength 9, and 8 is read"]),
        (at("id", minLength=2), ["new readers refuse old events: body.id has minLength 1, and 2 is read"]),
        (at("title", maxLength=9), ["new readers refuse old events: body.title has maxLength none, and 9 is read"]),
        (
            at("title", format="email"),
            ["new readers refuse old events: body.title has format none, and 'email' is read"],
        ),
        (at("count", minimum=1), ["new readers refuse old events: body.count has minimum 0, and 1 is read"]),
        (at("count", maximum=5), ["new readers refuse old events: body.count has maximum 9, and 5 is read"]),
        (at("tags", maxItems=3), ["new readers refuse old events: body.tags has maxItems 4, and 3 is read"]),
        (
            at("tags", items={"type": "string", "minLength": 1}),
            ["new readers refuse old events: body.tags[] has minLength none, and 1 is read"],
        ),
        (
            at("metadata", additionalProperties={"type": "integer"}),
            [
                "new readers refuse old events: body.metadata.* may be string, and integer is read",
                "old readers refuse new events: body.metadata.* may be integer, and string is read",
            ],
        ),
        (
            at("metadata", additionalProperties=True),
            ["old readers refuse new events: body.metadata.* may be anything, and string is read"],
        ),
        (
            lambda s: s.update(additionalProperties=False),
            ["new readers refuse old events: body may have unknown fields, and they are refused"],
        ),
        (
            lambda s: s["$defs"]["Text"]["properties"]["text"].update(maxLength=5),
            ["new readers refuse old events: body.content.text has maxLength 10, and 5 is read"],
        ),
        (
            lambda s: s["properties"]["content"]["oneOf"].pop(),
            [
                "new readers refuse old events: body.content.kind may be 'text', which is not read",
                "new readers refuse old events: body.content.size may be missing, and is required",
                "body.content.text is gone: what is written there is lost",
            ],
        ),
        (lambda s: s["properties"].pop("title"), ["body.title is gone: what is written there is lost"]),
    ],
)
def test_each_kind_of_break_is_told(change: Change, words: list[str]) -> None:
    assert sorted(schema_breaks(OLD, changed(change))) == sorted(words)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: None,
        lambda s: s["properties"].update(language={"type": "string", "default": "en"}),
        lambda s: s["$defs"]["Text"]["properties"].update(language={"type": "string"}),
        at("title", title="The title", description="What it is called.", examples=["A title"], default=""),
        lambda s: s["$defs"].update(Unused={"type": "object"}),
    ],
    ids=["nothing", "optional field", "optional field in a part", "words", "definition"],
)
def test_an_addition_is_no_break(change: Change) -> None:
    assert schema_breaks(OLD, changed(change)) == []


limits = st.integers(0, 2)
words = st.text("ab", max_size=2)


def schemas(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    leaves: list[st.SearchStrategy[dict[str, Any]]] = [
        st.just({"type": "null"}),
        st.fixed_dictionaries({"type": st.just("string")}, optional={"maxLength": limits, "minLength": limits}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])}, optional={"minimum": limits, "maximum": limits}
        ),
        st.fixed_dictionaries({"enum": st.lists(words, min_size=1, max_size=3), "type": st.just("string")}),
    ]
    if not depth:
        return st.one_of(leaves)
    inner = schemas(depth - 1)
    return st.one_of(
        *leaves,
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": limits}),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(words, inner, max_size=2),
                "required": st.lists(words, max_size=1),
            },
            optional={"additionalProperties": st.booleans() | inner},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    )


documents = st.recursive(
    st.none() | st.integers(-1, 3) | st.sampled_from([0.5, 1.5]) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)


@given(schemas())
def test_nothing_breaks_where_nothing_changes(schema: dict[str, Any]) -> None:
    assert schema_breaks(schema, schema) == []


def undeclared(document: Any, schema: dict[str, Any]) -> bool:
    """Whether the document has a field that an open schema does not declare, which our writers never write."""
    members = schema.get("anyOf", [schema])
    if isinstance(document, list):
        return any(undeclared(item, member.get("items", {})) for item in document for member in members)
    if isinstance(document, dict):
        return any(
            undeclared(value, member.get("properties", {}).get(name) or member.get("additionalProperties") or {})
            if name in member.get("properties", {}) or isinstance(member.get("additionalProperties"), dict)
            else True
            for name, value in document.items()
            for member in members
        )
    return False


@given(schemas(), schemas(), st.lists(documents, min_size=20, max_size=20))
def test_what_no_refusal_is_told_of_is_read(writer: dict[str, Any], reader: dict[str, Any], found: list[Any]) -> None:
    """Whatever document the writer's schema allows, the reader's allows it, or a refusal is told."""
    writes, reads = Draft202012Validator(writer), Draft202012Validator(reader)
    for document in found:
        if writes.is_valid(document) and not reads.is_valid(document) and not undeclared(document, writer):
            assert refusals(writer, reader), document
            return


Contract = dict[str, dict[str, Any]]


def edited(change: Callable[[Contract], Any]) -> Contract:
    new = copy.deepcopy(dict(contract()))
    change(new)
    return new


def channels(new: Contract) -> dict[str, Any]:
    found: dict[str, Any] = new["asyncapi.json"]["channels"]
    return found


def move_chat_failed(new: Contract) -> None:
    moved = channels(new)["chat.events"]["messages"].pop("millrace.chat.failed")
    channels(new)["chat.requested"]["messages"]["millrace.chat.failed"] = moved


def require_title(new: Contract) -> None:
    new["millrace.document.submitted.json"]["required"].append("title")


def another_key(new: Contract) -> None:
    message = new["asyncapi.json"]["components"]["messages"]["millrace.chat.delta"]
    message["bindings"]["kafka"]["key"]["pattern"] = "^.*$"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda new: channels(new).pop("chat.events"), "chat.events: the topic is gone"),
        (
            lambda new: new["asyncapi.json"]["components"]["messages"].pop("millrace.chat.delta"),
            "millrace.chat.delta: the event is gone",
        ),
        (move_chat_failed, "chat.events: millrace.chat.failed no longer travels here"),
        (
            lambda new: channels(new)["chat.events"]["bindings"]["kafka"].update(partitions=16),
            "chat.events: 8 partitions became 16, which moves keys",
        ),
        (
            lambda new: channels(new)["documents.submitted"]["bindings"]["kafka"]["topicConfiguration"].update(
                {"cleanup.policy": ["compact"]}
            ),
            "documents.submitted: cleanup delete became compact",
        ),
        (
            require_title,
            "millrace.document.submitted: payload: new readers refuse old events: "
            "body.title may be missing, and is required",
        ),
        (another_key, "millrace.chat.delta: key: new readers refuse old events: body has pattern"),
        (
            lambda new: new["asyncapi.json"]["components"]["messages"]["documents.dead-letter"]["headers"][
                "properties"
            ].pop("error_type"),
            "documents.dead-letter: headers: body.error_type is gone",
        ),
    ],
)
def test_each_break_of_a_contract_is_told(change: Callable[[Contract], Any], words: str) -> None:
    new = edited(change)
    assert any(told.startswith(words) for told in breaks(contract(), new)), breaks(contract(), new)
    assert not may_release(contract(), new)
    new["asyncapi.json"]["info"]["version"] = "2.0.0"
    assert may_release(contract(), new)


def test_before_the_first_release_nothing_breaks() -> None:
    assert breaks({}, contract()) == []
    assert may_release({}, contract())


def test_todays_models_keep_the_released_contract() -> None:
    found = breaks(read(RELEASED), contract())
    assert may_release(read(RELEASED), contract()), "\n".join(found)
