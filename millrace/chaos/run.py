"""A run of chaos: rounds of faults under load; after each the system comes to rest and the history is checked."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace.chaos import checker
from millrace.chaos.cluster import MILLRACE, Cluster, NotReady
from millrace.chaos.faults import FaultLeftOut, inject
from millrace.chaos.history import History
from millrace.chaos.plan import Fault, Round, plan
from millrace.chaos.summary import Summary
from millrace.chaos.workload import Workload

REST_DEADLINE_S = 90
"""After the fault: for every part to be ready and every acknowledged document to be final. A worker that is away takes
6 s to be missed, a broker or Postgres some seconds to come back, and a failed request is tried again within 30 s."""

Say = Callable[[str], None]


class Run:
    """So many rounds of one seed. ``millrace`` is the command line that workers and gateways are made of."""

    def __init__(
        self, rounds: int, seed: int, folder: Path, *, libs: Path, say: Say, millrace: Sequence[str] = MILLRACE
    ) -> None:
        self._plan = plan(rounds, seed)
        self._say = say
        self.summary = Summary(seed, folder)
        self._history = History(self.summary.history)
        self._cluster = Cluster(folder, self._note, libs=libs, millrace=millrace)

    async def run(self) -> Summary:
        """Run the rounds, up to the first that finds a violation. Raises what starting the cluster raises."""
        began = time.monotonic()
        async with self._cluster.running():
            self._say(f"cluster up after {time.monotonic() - began:.0f} s in {self.summary.folder}")
            workload = Workload(self._cluster.gateways, self._cluster.kafka, self._history, self.summary.seed)
            async with workload.running():
                for each in self._plan:
                    await self._round(each, workload)
                    self.summary.rounds, self.summary.duration_s = each.number, time.monotonic() - began
                    if self.summary.report.violations:
                        break
        return self.summary

    async def _round(self, each: Round, workload: Workload) -> None:
        began = time.monotonic()
        self._note("round", number=each.number, faults=[str(fault) for fault in each.faults])
        await asyncio.gather(*(self._inject(fault) for fault in each.faults))
        await workload.pause()
        healed = time.monotonic()
        if await self._comes_to_rest(workload):
            rested_s = time.monotonic() - healed
            await workload.observe(self._cluster.database_url, str(self._cluster.blobs))
        else:
            rested_s = math.inf
        report = self.summary.report = await asyncio.to_thread(checker.check, self.summary.history)
        self._say(
            f"round {each.number:3}  {time.monotonic() - began:5.1f} s (rest after {rested_s:4.1f} s)  "
            f"acknowledged {report.acknowledged:5}  reads {report.reads:6}  {each}"
        )
        workload.resume()

    async def _inject(self, fault: Fault) -> None:
        try:
            await inject(self._cluster, fault, self._note)
        except FaultLeftOut as error:
            self._say(f"left out: {fault}. {error}")
            self.summary.left_out[fault.kind] += 1
        else:
            self.summary.faults[fault.kind] += 1

    async def _comes_to_rest(self, workload: Workload) -> bool:
        """Whether it does by the deadline; if not, the history says what does not, and the checker finds it there."""
        deadline = time.monotonic() + REST_DEADLINE_S
        try:
            await self._cluster.until_ready(REST_DEADLINE_S)
        except NotReady as error:
            self._note("settled", documents=0, stuck=[str(error)])
            return False
        return not await workload.settle(max(1.0, deadline - time.monotonic()))

    def _note(self, kind: str, /, **data: object) -> None:
        if kind == "exit" and not data["expected"]:
            self.summary.unexpected_exits.append({name: data[name] for name in ("part", "last_words")})
        self._history.note(kind, **data)
