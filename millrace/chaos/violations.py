"""What a checker says."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

EXAMPLES_PER_KIND_MAX = 20
"""One broken promise shows in a thousand reads; the first ones tell what it is."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: its kind, what is wrong in a sentence, and the indexes of the operations that show it."""

    kind: str
    message: str
    operations: tuple[int, ...]


@dataclass(slots=True)
class Report:
    """What was checked, and what is wrong: of each kind the first `EXAMPLES_PER_KIND_MAX`."""

    acknowledged: int = 0
    reads: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Of violations by kind, all of them."""
    violations: list[Violation] = field(default_factory=list)

    def add(self, kind: str, message: str, *operations: int) -> None:
        """Note a violation."""
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES_PER_KIND_MAX:
            self.violations.append(Violation(kind, message, tuple(sorted(set(operations)))))

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "acknowledged": self.acknowledged,
            "reads": self.reads,
            "counts": dict(self.counts),
            "violations": [
                {"kind": each.kind, "message": each.message, "operations": each.operations} for each in self.violations
            ],
        }
