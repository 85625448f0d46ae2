"""One base for every error that Millrace raises on purpose.

The first line of a subclass's docstring is its message; ``type`` is its stable name, carried over HTTP as the tail of
the problem's ``type`` and over Kafka in the ``error_type`` header.
"""

import inspect
from typing import Any, ClassVar


class MillraceError(Exception):
    """Something went wrong in Millrace."""

    type: ClassVar[str] = "internal"
    hint: ClassVar[str | None] = None
    transient: ClassVar[bool] = False
    """True where the same attempt can succeed later without anybody changing anything."""
    retry_after_s: float | None = None
    """Seconds that whoever refused asks to be left alone, where it says so."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail
        super().__init__(f"{self.title()} {detail}" if detail else self.title())

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(cls) or cls.__name__).splitlines()[0]

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross the border of the parser's process; the default would pass the whole message as the detail.
        return type(self), (self.detail,)


class InvalidEvent(MillraceError):
    """The event does not follow the published contract."""

    type = "invalid-event"


class BrokerUnavailable(MillraceError):
    """Kafka cannot be reached."""

    type = "broker-unavailable"
    hint = "Is KAFKA_BOOTSTRAP_SERVERS right, and the broker up?"
    transient = True


class TopicMismatch(MillraceError):
    """A topic on the broker differs from its declaration."""

    type = "topic-mismatch"
    hint = "Compare with `millrace topics`; a partition count cannot be changed under keys that are already there."


class InvalidPosition(MillraceError):
    """The position token is not one of ours."""

    type = "invalid-position"
