"""What a run found."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from millrace.chaos.checker import Violation
from millrace.chaos.plan import Round

SLICE_LINES_MAX = 40


@dataclass(slots=True)
class Summary:
    """The figures of a run. ``folder`` holds history.jsonl and all logs."""

    seed: int
    folder: Path
    rounds: int = 0
    duration_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    reads: int = 0
    unexpected_exits: int = 0
    violations: list[Violation] = field(default_factory=list)

    @property
    def command(self) -> str:
        """What repeats the run up to its last round."""
        return f"millrace chaos --rounds {self.rounds} --seed {self.seed}"

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
            "violations": Counter(violation.kind for violation in self.violations),
            "command": self.command,
        }
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
