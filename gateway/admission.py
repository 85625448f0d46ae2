"""Who is let in: what there is no room for is refused before anything of it is stored, not dropped afterwards."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
from fastapi import Request
from prometheus_client import Gauge
from starlette.types import Message

from db.live import Live
from engine.embed import Embedder
from gateway.lag import LagMeter
from gateway.problems import Refused
from gateway.settings import GatewaySettings
from schemas.topics import STAGES_OF_GENERATION

BYTES = Gauge("millrace_in_flight_bytes", "Bytes of writes that were let in and are not acknowledged yet.")
CHATS = Gauge("millrace_chats_in_progress", "Questions that wait for their answer here.")
WAITING = Gauge("millrace_database_waiting", "Requests that wait for a connection to the database.")

ANSWER_STAGES = ("answer",)
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1, 60
RETRY_AFTER_UNKNOWN_S = 5
"""Where nothing has come to an end lately, so that nothing can be said of when more will."""
RATE_OVER_S = 10.0


class Overloaded(Refused):
    """There is more to do already than can be taken on."""

    type = "overloaded"
    hint = "Nothing was stored; send it again later."


class ShareExceeded(Refused):
    """The tenant has its share of what can be in progress already."""

    type = "tenant-share-exceeded"
    hint = "Nothing was stored; send it again once some of it is through."


def retry_after_s(amount: float, per_s: float) -> int:
    """In how many seconds so much more is through at this rate, within bounds."""
    if per_s <= 0:
        return RETRY_AFTER_UNKNOWN_S
    return math.ceil(min(max(amount / per_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S))


class Hold:
    """What one request holds of something bounded."""

    def __init__(self, bounded: "Bounded", tenant_id: str) -> None:
        self._bounded = bounded
        self.tenant_id = tenant_id
        self.amount = 0

    def grow(self, amount: int) -> None:
        """Hold so much more. Raises `Overloaded` and `ShareExceeded`."""
        self._bounded.take(self, amount)


class Bounded:
    """Something of which there is only so much at a time, and only a share of it for one tenant.

    A request that is the only one, of all or of its tenant, is let in whatever its size: that has a limit of its own.
    """

    def __init__(self, unit: str, maximum: int, share: float, gauge: Gauge) -> None:
        self._unit = unit
        self._maximum = maximum
        self._share = max(1, int(maximum * share))
        self._gauge = gauge
        self._total = 0
        self._by_tenant: Counter[str] = Counter()
        self._through: deque[tuple[float, int]] = deque()

    @contextmanager
    def hold(self, tenant_id: str, amount: int) -> Iterator[Hold]:
        """Hold so much while the context lasts. Raises `Overloaded` and `ShareExceeded`."""
        hold = Hold(self, tenant_id)
        self.take(hold, amount)
        try:
            yield hold
        finally:
            self._give_back(hold)

    def take(self, hold: Hold, amount: int) -> None:
        """Add to what is held. Raises `Overloaded` and `ShareExceeded`."""
        own, total = self._by_tenant[hold.tenant_id], self._total
        if own > hold.amount and own + amount > self._share:
            raise ShareExceeded(
                f"{own} {self._unit} of at most {self._share} for one tenant.",
                reason=f"tenant-{self._unit}",
                retry_after_s=retry_after_s(own + amount - self._share, self._per_s()),
            )
        if total > hold.amount and total + amount > self._maximum:
            raise Overloaded(
                f"{total} {self._unit} of at most {self._maximum}.",
                reason=self._unit,
                retry_after_s=retry_after_s(total + amount - self._maximum, self._per_s()),
            )
        hold.amount += amount
        self._by_tenant[hold.tenant_id] += amount
        self._set_total(total + amount)

    def _give_back(self, hold: Hold) -> None:
        self._by_tenant[hold.tenant_id] -= hold.amount
        if not self._by_tenant[hold.tenant_id]:
            del self._by_tenant[hold.tenant_id]
        self._set_total(self._total - hold.amount)
        self._through.append((time.monotonic(), hold.amount))
        self._per_s()

    def _set_total(self, total: int) -> None:
        self._total = total
        self._gauge.set(total)

    def _per_s(self) -> float:
        """How much has come to an end in a second lately."""
        while self._through and self._through[0][0] < time.monotonic() - RATE_OVER_S:
            self._through.popleft()
        return sum(amount for _, amount in self._through) / RATE_OVER_S


class Admission:
    """The gateway's door. Whatever is not known, such as a lag while the broker is away, refuses nobody."""

    def __init__(self, settings: GatewaySettings, live: Live[Embedder], lag: LagMeter) -> None:
        self._settings = settings
        self._live = live
        self._lag = lag
        self._process = psutil.Process()
        self._bytes = Bounded("bytes", settings.in_flight_bytes_max, settings.tenant_share, BYTES)
        self._chats = Bounded("chats", settings.chats_max, settings.tenant_share, CHATS)
        WAITING.set_function(lambda: live.pool.waiting)

    @contextmanager
    def document(self, tenant_id: str, request: Request) -> Iterator[Request]:
        """Let a document in until it is acknowledged; gives the request to read, whose body is counted.

        Raises `Overloaded`, `ShareExceeded` and `DatabaseBusy`.
        """
        self.work()
        length = request.headers.get("content-length", "")
        declared = int(length) if length.isdigit() else 0
        with self._bytes.hold(tenant_id, declared) as hold:
            yield request if declared else _counted(request, hold)

    @contextmanager
    def chat(self, tenant_id: str) -> Iterator[None]:
        """Let a question in until it is answered. Raises `Overloaded`, `ShareExceeded` and `DatabaseBusy`."""
        self._refuse_without_room()
        self._refuse_old(ANSWER_STAGES, self._settings.answer_timeout_s)
        with self._chats.hold(tenant_id, 1):
            yield

    def work(self) -> None:
        """Let in what makes work for the pipeline. Raises `Overloaded` and `DatabaseBusy`."""
        self._refuse_without_room()
        self._refuse_lag()
        self._refuse_old(STAGES_OF_GENERATION, self._settings.lag_age_max_s)

    def _refuse_without_room(self) -> None:
        self._live.pool.refuse_if_busy()
        rss_bytes = self._process.memory_info().rss
        if rss_bytes > self._settings.memory_bytes_max:
            raise Overloaded(
                f"{rss_bytes} bytes of memory are in use, where {self._settings.memory_bytes_max} are allowed.",
                reason="memory",
                retry_after_s=RETRY_AFTER_UNKNOWN_S,
            )

    def _refuse_lag(self) -> None:
        stages = [lag for stage, lag in (self._lag.stages or {}).items() if stage in STAGES_OF_GENERATION]
        behind = sum(stage.records for stage in stages)
        if behind > self._settings.lag_max:
            furthest = max(stages, key=lambda stage: stage.records)
            raise Overloaded(
                f"{behind} events behind, where {self._settings.lag_max} are allowed.",
                reason="lag",
                retry_after_s=retry_after_s(behind - self._settings.lag_max, furthest.per_s),
            )

    def _refuse_old(self, names: Sequence[str], age_max_s: float) -> None:
        for name in names:
            stage = (self._lag.stages or {}).get(name)
            if stage is not None and stage.age_s > age_max_s:
                raise Overloaded(
                    f"{name} is {stage.age_s:.0f} s behind, where {age_max_s:g} are allowed.",
                    reason="age",
                    retry_after_s=retry_after_s(stage.records, stage.per_s),
                )


def _counted(request: Request, hold: Hold) -> Request:
    """A request that did not say how long it is: its bytes are held as they come."""

    async def receive() -> Message:
        message = await request.receive()
        hold.grow(len(message.get("body", b"")))
        return message

    return Request(request.scope, receive)
