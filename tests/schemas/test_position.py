import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidPosition
from schemas.position import OFFSET_BITS, POSITION_MAX, Position, position_of

document_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}", fullmatch=True)
positions = st.builds(Position, st.integers(0, 2**16 - 1), st.integers(1, POSITION_MAX), document_ids)
offsets = st.integers(0, 2**OFFSET_BITS - 1)


@given(positions)
def test_a_token_comes_back_as_its_position(position: Position) -> None:
    token = position.token()
    assert Position.from_token(token) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(
    st.text()
    | st.text("AZaz09-_=+/ \n", max_size=20)
    | st.binary(max_size=20).map(lambda b: base64.b64encode(b).decode())
)
def test_anything_else_is_refused_or_is_a_token(token: str) -> None:
    try:
        assert Position.from_token(token).token() == token
    except InvalidPosition as error:
        assert len(str(error)) < 1_000


@given(positions, st.sampled_from(["=", "A", " ", "\n", "é", "\0"]))
def test_a_token_with_something_beside_it_is_refused(position: Position, extra: str) -> None:
    for garbled in (position.token() + extra, extra + position.token(), position.token()[:-1]):
        with pytest.raises(InvalidPosition):
            Position.from_token(garbled)


@given(
    positions,
    st.sampled_from([0, POSITION_MAX + 1, 2**63, 2**64 - 1]),
    st.sampled_from(["", "-a", "ä", "a/b", "a" * 201]),
)
def test_a_place_that_cannot_be_is_refused(position: Position, number: int, document_id: str) -> None:
    for impossible in (position._replace(position=number), position._replace(document_id=document_id)):
        with pytest.raises(InvalidPosition):
            Position.from_token(impossible.token())


@given(st.integers(0, 2**13 - 1), offsets, st.integers(0, 2**13 - 1), offsets)
def test_positions_order_by_epoch_then_offset(epoch: int, offset: int, other_epoch: int, other_offset: int) -> None:
    position, other = position_of(epoch, offset), position_of(other_epoch, other_offset)
    assert (position < other) == ((epoch, offset) < (other_epoch, other_offset))
    assert 1 <= position <= 2**53  # which JavaScript counts exactly
