"""W3C trace context: one trace follows a document or a question through HTTP, Kafka and the logs."""

import re
from random import Random

# Unlike, not secret; those of the system take a call each, and several are made for each document.
_numbers = Random()  # noqa: S311
TRACEPARENT = re.compile(r"^00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}$")


def child_of(traceparent: str | None) -> str:
    """A traceparent for the next step: in the same trace if ``traceparent`` is valid, else in a new one."""
    match = TRACEPARENT.match(traceparent or "")
    trace = match["trace"] if match else _number(128)
    return f"00-{trace}-{_number(64)}-01"


def trace_id(traceparent: str) -> str:
    """The trace that a valid traceparent belongs to."""
    return traceparent.split("-")[1]


def _number(bits: int) -> str:
    """In hexadecimal, and never zero, which W3C leaves no meaning."""
    return f"{_numbers.randrange(1, 1 << bits):0{bits // 4}x}"
