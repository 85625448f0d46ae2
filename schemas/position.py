"""Positions in the stream, and the revisions and tokens made from them.

A *position* is one 64-bit number: the epoch in the high bits, the Kafka offset in the low 40. The epoch counts the
clusters a database has been fed from, so that a wiped broker, whose offsets start again at 0, still continues the order
instead of looking like the past. A document's *revision* is the position of its submission: the broker's own order,
needing no clock and no counter, and the same for everybody who reads the log.
"""

import base64
import binascii
import struct
from typing import NamedTuple, Self

from schemas.errors import InvalidPosition

OFFSET_BITS = 40
"""2**40 offsets per partition and epoch; 2**13 epochs stay below 2**53, which JavaScript can still count."""

_TOKEN = struct.Struct("<HQ")


def position_of(epoch: int, offset: int) -> int:
    """Join an epoch (from 0) and a Kafka offset (from 0) into a position (from 1, so that 0 is before everything)."""
    return (epoch << OFFSET_BITS | offset) + 1


def offset_of(position: int) -> int:
    """The Kafka offset in a position."""
    return (position - 1) & ((1 << OFFSET_BITS) - 1)


class Position(NamedTuple):
    """A place in ``documents.submitted``: what a write returns and a later read can wait for."""

    partition: int
    position: int

    def token(self) -> str:
        """The opaque, URL-safe form that clients hand back."""
        return base64.urlsafe_b64encode(_TOKEN.pack(*self)).rstrip(b"=").decode()

    @classmethod
    def from_token(cls, token: str) -> Self:
        """Read a token; raises `InvalidPosition` for anything that ``token`` did not make."""
        try:
            place = cls(*_TOKEN.unpack(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))))
        except (struct.error, binascii.Error, ValueError) as error:
            raise InvalidPosition(repr(token[:80])) from error
        if place.token() != token:
            raise InvalidPosition(repr(token[:80]))
        return place
