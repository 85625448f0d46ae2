"""What a run found."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from millrace.chaos.checker import Report
from millrace.chaos.history import Json, read

SLICE_LINES_MAX = 40
"""Of the history, told with one violation; the rest is in the file."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, and the round after which it was found; ``operations`` are lines of the history, by their index."""

    round: int
    kind: str
    message: str
    operations: tuple[int, ...] = ()


@dataclass(slots=True)
class Summary:
    """The figures of a run so far. ``folder`` holds the history and, in ``logs`` folders, what every process said."""

    seed: int
    folder: Path
    rounds: int = 0
    duration_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    reads: int = 0
    unexpected_exits: int = 0
    violations: list[Finding] = field(default_factory=list)

    @property
    def history(self) -> Path:
        """The file that the clients' operations and the faults are recorded in."""
        return self.folder / "history.jsonl"

    @property
    def command(self) -> str:
        """What repeats the run up to its last round."""
        return f"millrace chaos --rounds {self.rounds} --seed {self.seed}"

    def take(self, number: int, report: Report, stuck: Sequence[str]) -> None:
        """Add what a round found."""
        self.acknowledged, self.reads = report.acknowledged, report.reads
        self.violations += [Finding(number, "stuck", each) for each in stuck]
        self.violations += [Finding(number, each.kind, each.message, tuple(each.ops)) for each in report.violations]

    def excerpt(self, finding: Finding) -> list[Json]:
        """The operations that a violation is about, with the faults between them."""
        if not finding.operations:
            return []
        first, last = min(finding.operations), max(finding.operations)
        wanted = set(finding.operations)
        lines = (
            line
            for line in read(self.history)
            if line["index"] in wanted or (first <= line["index"] <= last and "note" in line)
        )
        return list(islice(lines, SLICE_LINES_MAX))

    def write(self, path: Path) -> None:
        """As JSON."""
        content = {
            "seed": self.seed,
            "rounds": self.rounds,
            "duration_s": round(self.duration_s, 1),
            "faults": self.faults,
            "left_out": self.left_out,
            "acknowledged": self.acknowledged,
            "reads": self.reads,
            "unexpected_exits": self.unexpected_exits,
            "violations": Counter(finding.kind for finding in self.violations),
            "command": self.command,
        }
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
