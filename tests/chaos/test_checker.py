"""The checker passes whatever a right service does, and catches each way in which one could be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.chaos.checker import check_lines
from tests.chaos.broken import BROKEN
from tests.chaos.model import Json, Key, Service
from tests.chaos.users import Clients, story

STEPS = st.tuples(
    st.sampled_from(
        [
            "put",
            "edit",
            "poison",
            "delete",
            "cancel",
            "retry",
            "overtaken",
            "unanswered",
            "lost",
            "late",
            "land",
            "apply",
            "apply",
            "status",
            "get",
            "content",
            "chunks",
            "list",
            "search",
            "look",
            "ask",
            "settle",
        ]
    ),
    st.sampled_from([("chaos-0", "doc-0"), ("chaos-0", "doc-1"), ("chaos-1", "doc-0")]),
    st.booleans(),
    st.integers(0, 3),
)


def play(service: Service, steps: list[tuple[str, Key, bool, int]]) -> list[Json]:
    clients = Clients(service)
    for step, key, asking, place in steps:
        match step:
            case "put":
                clients.put(key)
            case "edit":
                clients.put(key, one=place)
            case "poison":
                clients.put(key, poison=True)
            case "unanswered":
                clients.put(key, outcome="unknown")
            case "lost":
                clients.put(key, outcome="unknown", lands=False)
            case "late":
                clients.put(key, outcome="unknown", late=True)
            case "land":
                clients.land()
            case "delete":
                clients.delete(key, "ok" if asking else "unknown")
            case "cancel":
                clients.cancel(key, "ok" if asking else "unknown")
            case "retry" | "overtaken":
                clients.retry(key, "ok" if asking else "unknown", overtaken=step == "overtaken")
            case "apply":
                service.apply()
            case "search":
                clients.read("search", key, asking=asking, query="anything")
            case "look":
                clients.look_for(key, place, asking=asking)
            case "ask":
                clients.ask(key)
            case "settle":
                clients.settle()
            case kind:
                clients.read(kind, key, asking=asking)
    clients.settle()
    return clients.lines


@given(st.lists(STEPS, max_size=80))
@settings(max_examples=200, deadline=None)
def test_a_right_service_breaks_no_promise(steps: list[tuple[str, Key, bool, int]]) -> None:
    report = check_lines(play(Service(), steps))
    assert report.violations == []


def test_the_story_of_a_right_service_breaks_no_promise() -> None:
    lines = story(Service())
    report = check_lines(lines)
    writes = sum(line.get("kind") in {"put", "delete"} for line in lines)
    notes = sum("note" in line for line in lines)
    assert report.violations == []
    assert (report.acknowledged, report.reads) == (writes, len(lines) - writes - notes)


@pytest.mark.parametrize(("kind", "words", "service"), BROKEN)
def test_a_broken_service_is_caught(kind: str, words: str, service: type[Service]) -> None:
    report = check_lines(story(service()))
    caught = [each for each in report.violations if each.kind == kind and words in each.message]
    assert caught, report.violations
    assert all(each.operations for each in caught)
