"""The figures of a run."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from millrace.chaos.history import Json, read
from millrace.chaos.violations import Report, Violation

EXCERPT_LINES_MAX = 40
"""Of the history, told with one violation; the rest is in the file."""


@dataclass(slots=True)
class Summary:
    """A run so far. ``folder`` holds the history and, in ``logs`` folders, what every process said."""

    seed: int
    folder: Path
    rounds: int = 0
    duration_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unexpected_exits: list[Json] = field(default_factory=list)
    """Of processes that ended by themselves: the part and its last words."""
    report: Report = field(default_factory=Report)
    """What the checker says of all rounds together."""

    @property
    def history(self) -> Path:
        """The file that the clients' operations and the faults are recorded in."""
        return self.folder / "history.jsonl"

    @property
    def command(self) -> str:
        """What repeats the run up to its last round."""
        return f"millrace chaos --rounds {self.rounds} --seed {self.seed}"

    def excerpt(self, violation: Violation) -> list[Json]:
        """The lines of the history that a violation is about, with the faults and other notes between them."""
        wanted = set(violation.operations)
        first, last = min(wanted, default=0), max(wanted, default=-1)
        between = (
            line
            for line in read(self.history)
            if line["index"] in wanted or (first <= line["index"] <= last and "note" in line)
        )
        return list(islice(between, EXCERPT_LINES_MAX))

    def write(self, path: Path) -> None:
        """As JSON."""
        content = {
            "seed": self.seed,
            "rounds": self.rounds,
            "duration_s": round(self.duration_s, 1),
            "faults": self.faults,
            "left_out": self.left_out,
            "unexpected_exits": self.unexpected_exits,
            "command": self.command,
            **self.report.as_dict(),
        }
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
