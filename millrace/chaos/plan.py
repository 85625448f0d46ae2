"""Which faults come when: all of it from one seed, so that a seed repeats the same plan."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from millrace.chaos.cluster import BROKERS, GATEWAYS, LINKS, STAGES, WORKERS

PAIRED_SHARE = 0.25
"""Of the rounds: two faults at a time."""
GROUPS = (*((f"{stage}-1", f"{stage}-2") for stage in STAGES), GATEWAYS, BROKERS, ("postgres",))
"""Processes of one kind: a kind is drawn first, so that eight workers do not crowd out the one Postgres."""
CLIENTS = (*WORKERS, *GATEWAYS)
SERVERS = tuple((link,) for link in ("postgres", *BROKERS))
ONE_FROM_SERVERS = tuple(tuple(f"{client}>{server}" for client in CLIENTS) for server in ("postgres", "brokers"))
"""One process is cut off from a server that all others reach: ``client>server``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: the groups of targets to draw from, and the seconds that it is held, at least and at most."""

    groups: tuple[Sequence[str], ...]
    hold_s: tuple[float, float]


NETWORKS = (*SERVERS, *ONE_FROM_SERVERS, tuple(link for link in LINKS if link.startswith("peers")))
KINDS = {
    # At once, or after a while in which others take over.
    "kill": Kind(GROUPS, (0.0, 4.0)),
    # Shorter than the 6 s after which a silent worker's partitions go to another one, and longer.
    "short-pause": Kind(GROUPS, (1.0, 4.0)),
    "long-pause": Kind(GROUPS, (7.0, 9.0)),
    "rolling-restart": Kind((STAGES, ("gateway",), ("broker",)), (0.0, 0.0)),
    "join-and-leave": Kind((STAGES,), (2.0, 5.0)),
    "leaders": Kind((("kafka",),), (1.0, 2.0)),
    "fast-restart": Kind((("postgres",),), (0.0, 2.0)),
    "immediate-restart": Kind((("postgres",),), (0.0, 2.0)),
    "full-disk": Kind((("blobs",), ("postgres",)), (2.0, 5.0)),
    "slow": Kind(NETWORKS, (2.0, 5.0)),
    "cut": Kind(NETWORKS, (1.0, 8.0)),
    # Nothing arrives, and nobody is told.
    "silent": Kind(NETWORKS, (1.0, 8.0)),
    # What is asked is done, but the answer is lost.
    "no-answers": Kind(NETWORKS, (1.0, 8.0)),
    # The wall clock alone jumps, there and back.
    "clock-forward": Kind((CLIENTS,), (2.0, 5.0)),
    "clock-back": Kind((CLIENTS,), (2.0, 5.0)),
}
AFTER_S = (0.5, 2.0)
"""From the begin of the round, when the workload runs, to the fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it begins ``after_s`` after the round did and is held for ``hold_s``."""

    kind: str
    target: str
    after_s: float
    hold_s: float

    def __str__(self) -> str:
        held = f" {self.hold_s:.1f} s" if self.hold_s else ""
        return f"{self.kind} {self.target}{held}"


@dataclass(frozen=True, slots=True)
class Round:
    """One round; the first has number 1."""

    number: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.faults))


def plan(rounds: int, seed: int) -> list[Round]:
    """So many rounds. A longer plan of the same seed begins with the shorter one."""
    random = Random(seed)  # noqa: S311 - it must repeat
    faults = _faults(random)
    return [
        Round(number, tuple(itertools.islice(faults, 2 if random.random() < PAIRED_SHARE else 1)))
        for number in range(1, rounds + 1)
    ]


def _faults(random: Random) -> Iterator[Fault]:
    """Each kind at each group of targets once, in any order; then again."""
    deck = [(name, group) for name, kind in KINDS.items() for group in kind.groups]
    while True:
        for name, group in random.sample(deck, len(deck)):
            hold_s = round(random.uniform(*KINDS[name].hold_s), 1)
            yield Fault(name, random.choice(group), round(random.uniform(*AFTER_S), 1), hold_s)
