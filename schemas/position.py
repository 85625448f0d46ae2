"""Positions in the stream, and the revisions and tokens made from them.

A *position* is one 64-bit number: the epoch in the high bits, the Kafka offset in the low 40. The epoch counts the
logs a database has been fed from (`schemas.log`), so that a wiped broker, whose offsets start again at 0, still
continues the order instead of looking like the past. A document's *revision* is the position of its submission: the
broker's own order, needing no clock and no counter, and the same for everybody who reads the log.
"""

import base64
import binascii
import struct
from typing import NamedTuple, Self

from pydantic import TypeAdapter, ValidationError

from schemas.errors import InvalidPosition
from schemas.events import DocumentId

OFFSET_BITS = 40
"""2**40 offsets per partition and epoch; 2**13 epochs stay below 2**53, which JavaScript can still count."""
POSITION_MAX = 2**53

_HEAD = struct.Struct("<HQB")
"""Partition, position, and the length of the document's id, so that a token that was cut short is no other one."""
_DOCUMENT_ID: TypeAdapter[str] = TypeAdapter(DocumentId)


def position_of(epoch: int, offset: int) -> int:
    """Join an epoch (from 0) and a Kafka offset (from 0) into a position (from 1, so that 0 is before everything)."""
    return (epoch << OFFSET_BITS | offset) + 1


def offset_of(position: int) -> int:
    """The Kafka offset in a position."""
    return (position - 1) & ((1 << OFFSET_BITS) - 1)


class Position(NamedTuple):
    """A write in ``documents.submitted``: what it answers, and what a later read can wait for.

    It names the document, since those of one partition are not finished in the order in which they came.
    """

    partition: int
    position: int
    document_id: str

    def token(self) -> str:
        """The opaque, URL-safe form that clients hand back."""
        document_id = self.document_id.encode()
        data = _HEAD.pack(self.partition, self.position, len(document_id)) + document_id
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    @classmethod
    def from_token(cls, token: str) -> Self:
        """Read a token; raises `InvalidPosition` for anything that ``token`` did not make."""
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            document_id = _DOCUMENT_ID.validate_python(data[_HEAD.size :].decode())
            partition, position, _ = _HEAD.unpack(data[: _HEAD.size])
        except (struct.error, binascii.Error, ValueError, ValidationError) as error:
            raise InvalidPosition(repr(token[:80])) from error
        place = cls(partition, position, document_id)
        if place.token() != token or not 1 <= place.position <= POSITION_MAX:
            raise InvalidPosition(repr(token[:80]))
        return place
