from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from millrace.chaos.cluster import BROKERS, GATEWAYS, LINKS, PARTS, STAGES
from millrace.chaos.faults import FAULTS
from millrace.chaos.plan import KINDS, Fault, plan

SEEDS = st.integers(0, 1 << 31)


@given(SEEDS, st.integers(1, 40), st.integers(0, 40))
def test_a_seed_repeats_its_plan_and_a_longer_one_begins_the_same(seed: int, rounds: int, more: int) -> None:
    assert plan(rounds + more, seed)[:rounds] == plan(rounds, seed)


@given(SEEDS)
def test_two_hundred_rounds_have_every_fault_everywhere(seed: int) -> None:
    faults = [fault for each in plan(200, seed) for fault in each.faults]
    for kind, declared in KINDS.items():
        drawn = Counter(fault.target for fault in faults if fault.kind == kind)
        for group in declared.groups:
            assert any(drawn[target] for target in group), (kind, group)


@given(SEEDS)
def test_every_fault_can_be_made_to_happen(seed: int) -> None:
    for each in plan(60, seed):
        assert 1 <= len(each.faults) <= 2
        for fault in each.faults:
            assert fault.kind in FAULTS
            least, most = KINDS[fault.kind].hold_s
            assert least <= fault.hold_s <= most
            assert _exists(fault), fault


def test_no_two_seeds_alike() -> None:
    assert plan(20, 1) != plan(20, 2)


def _exists(fault: Fault) -> bool:
    client, _, server = fault.target.rpartition(">")
    places = {*PARTS, *LINKS, *STAGES, *GATEWAYS, *BROKERS, "kafka", "brokers", "blobs", "gateway", "broker"}
    return server in places and (not client or client in PARTS)
