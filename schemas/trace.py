"""W3C trace context: one trace follows a document or a question through HTTP, Kafka and the logs."""

import re
import secrets

TRACEPARENT = re.compile(r"^00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}$")


def child_of(traceparent: str | None) -> str:
    """A traceparent for the next step: in the same trace if ``traceparent`` is valid, else in a new one."""
    match = TRACEPARENT.match(traceparent or "")
    trace = match["trace"] if match else secrets.token_hex(16)
    return f"00-{trace}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str) -> str:
    """The trace that a valid traceparent belongs to."""
    return traceparent.split("-")[1]
