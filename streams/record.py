"""A Kafka record on its way into a stage."""

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.events import Origin
from schemas.position import position_of
from schemas.trace import child_of, trace_id
from schemas.wire import ids_of


@dataclass(frozen=True, slots=True)
class Record:
    """What came from Kafka, as it came; ``timestamp_ms`` is the time its producer or the broker gave it."""

    topic: str
    partition: int
    offset: int
    epoch: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    @property
    def position(self) -> int:
        """The record's place in its partition, over all clusters."""
        return position_of(self.epoch, self.offset)

    @property
    def origin(self) -> Origin:
        """Of a record on the first topic: what everything made from it will name as its origin."""
        return Origin(partition=self.partition, position=self.position)

    @property
    def at(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.timestamp_ms / 1_000, UTC)

    @property
    def ids(self) -> tuple[str, str]:
        """Tenant and document (or conversation) as the key says them; empty where it says nothing of the kind."""
        return ids_of(self.key)

    @property
    def event_type(self) -> str | None:
        """What kind of event it says it is, without a look at whether it is one."""
        given = next((value for name, value in self.headers if name.lower() == "ce_type"), None)
        return (given or b"").decode(errors="replace") or None

    def about(self) -> dict[str, str | int]:
        """What a log line needs to say which record it is about."""
        tenant_id, subject_id = self.ids
        return {
            "tenant_id": tenant_id,
            "subject_id": subject_id,
            "trace_id": trace_id(self.traceparent),
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
        }

    @property
    def traceparent(self) -> str:
        """The trace context for what this record causes."""
        found = next((value for name, value in self.headers if name == "traceparent"), b"")
        return child_of((found or b"").decode("ascii", "replace"))
