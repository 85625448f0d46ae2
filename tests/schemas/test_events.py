from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.events import (
    FAILURE_CHARS_MAX,
    METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX,
    METADATA_KEYS_MAX,
    TRANSITIONS,
    BlobContent,
    ChatRequested,
    Chunk,
    DocumentSubmitted,
    Event,
    Failure,
    SearchFilters,
    State,
    TextContent,
    reaches,
)
from schemas.examples import EXAMPLES


def submitted(**changes: Any) -> DocumentSubmitted:
    return DocumentSubmitted.model_validate(EXAMPLES[DocumentSubmitted][0].model_dump() | changes)


def asked(**changes: Any) -> ChatRequested:
    return ChatRequested.model_validate(EXAMPLES[ChatRequested][0].model_dump() | changes)


NUL = "be\0fore"


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": NUL},
        {"title": NUL},
        {"collection": NUL},
        {"tags": [NUL]},
        {"content": {"kind": "text", "text": NUL}},
        {"metadata": {"x": NUL}},
        {"metadata": {NUL: 1}},
        {"metadata": {"x": [{"y": {NUL: None}}]}},
        {"metadata": {"x": [{"y": ["", NUL]}]}},
    ],
    ids=str,
)
def test_nul_in_a_document_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        submitted(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"message": NUL}, {"request_id": NUL}, {"filters": {"collection": NUL}}, {"filters": {"metadata": {"x": NUL}}}],
)
def test_nul_in_a_question_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**changes)


def test_nul_in_a_chunk_is_refused() -> None:
    with pytest.raises(ValidationError):
        Chunk(ordinal=0, text=NUL, start=0, end=7, token_count=1, content_hash="0" * 32)


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"x": float("nan")}, "not a finite number"),
        ({"x": [float("-inf")]}, "not a finite number"),
        ({"x": 2**64}, "64-bit"),
        ({"x": "\ud800"}, "surrogates"),
        ({"x": nested(METADATA_DEPTH_MAX)}, "nested deeper"),
        ({"x": nested(500)}, "depth exceeded"),
        ({"x": "y" * METADATA_BYTES_MAX}, "bytes as JSON"),
        ({str(number): None for number in range(METADATA_KEYS_MAX + 1)}, "at most 64"),
    ],
    ids=["nan", "inf", "huge", "surrogate", "deep", "deeper", "large", "many"],
)
def test_metadata_that_a_later_stage_could_not_take_is_refused(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        submitted(metadata=metadata)
    with pytest.raises(ValidationError, match=words):
        SearchFilters(metadata=metadata)


def test_metadata_up_to_its_limits_is_taken() -> None:
    at_the_limits = {"deep": nested(METADATA_DEPTH_MAX - 1), "large": -(2**63), "none": None, "text": r"\u0000"}
    assert submitted(metadata=at_the_limits).metadata == at_the_limits


@given(st.text(st.characters() | st.sampled_from("\0\ud800\udfff"), max_size=FAILURE_CHARS_MAX * 2))
def test_any_message_makes_a_failure_that_can_be_stored(message: str) -> None:
    failure = Failure(type="internal", message=message, stage="parse")
    assert "\0" not in failure.message
    assert len(failure.message) <= FAILURE_CHARS_MAX
    failure.model_dump_json()


@pytest.mark.parametrize(
    "key", ["", "/acme/x", "acme", "acme/", "acme//x", "acme/../other/x", "acme/./x", "acme/x/..", "ACME/x", "acme/\n"]
)
def test_a_blob_key_stays_inside_its_tenant(key: str) -> None:
    with pytest.raises(ValidationError):
        BlobContent(key=key, size_bytes=1)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "é", "a\n", "A" * 201])
def test_a_document_id_has_no_room_for_tricks(name: str) -> None:
    with pytest.raises(ValidationError):
        submitted(document_id=name)


def test_the_key_is_the_unit_of_order() -> None:
    assert submitted(tenant_id="acme", document_id="a.b").key() == b"acme/a.b"
    assert asked(tenant_id="acme", conversation_id="c1").key() == b"acme/c1"
    with pytest.raises(TypeError, match="Event has no key"):
        Event(tenant_id="acme").key()


def test_events_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TextContent(text="x").text = "y"  # type: ignore[misc]


def test_four_states_are_final() -> None:
    assert [state for state in State if state.final] == [State.INDEXED, State.FAILED, State.CANCELLED, State.DELETED]


def test_every_state_is_in_the_table_and_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(State)
    for state in State:
        assert state.final or any(end.final and reaches(state, end) for end in State)
        assert not reaches(state, state)
