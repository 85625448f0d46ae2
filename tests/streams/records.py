"""Records as they come from Kafka."""

from schemas.topics import SUBMITTED
from streams.record import Record


def record(
    tenant: str, offset: int = 0, *, partition: int = 0, value: bytes = b"{}", topic: str = SUBMITTED.name
) -> Record:
    """A record with a key of the tenant's."""
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        epoch=0,
        key=f"{tenant}/{offset}".encode(),
        value=value,
        headers=(("ce_id", b"1"), ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")),
        timestamp_ms=1_700_000_000_000,
    )
