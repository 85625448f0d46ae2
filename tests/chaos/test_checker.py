"""The checker passes whatever a right service does, and catches each way in which one could be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.chaos.checker import check_lines
from tests.chaos.model import Clients, Entry, Json, Key, Row, Service, keys, story

STEPS = st.tuples(
    st.sampled_from(
        [
            "put",
            "edit",
            "poison",
            "delete",
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
    st.sampled_from(list(keys())),
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


@given(st.lists(STEPS, max_size=60))
@settings(max_examples=150, deadline=None)
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


class Forgetful(Service):
    """Says that it has indexed what it has not."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        if revision != 5:
            super().publish(entry, revision, row)


class Unlettered(Service):
    """Fails without a dead letter."""

    def add_letter(self, entry: Entry, revision: int) -> None:
        """Nothing."""


class Holey(Service):
    """Leaves a chunk out."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return super().chunks(key, versions)[1:]


class Rowless(Service):
    """Loses a row of what is visible."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        super().publish(entry, revision, row)
        self.stored[entry.key, revision] -= 1


class Speechless(Service):
    """Keeps no answers."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": [each for each in told["messages"] if each["role"] == "user"]}


class Undecided(Service):
    """Writes a letter about what it has indexed."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        super().publish(entry, revision, row)
        self.add_letter(entry, revision)


class Cancelling(Service):
    """Calls cancelled what everybody sees."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, state, error)
        if state == "indexed":
            super().end(entry, revision, "cancelled", error)


class Arbitrary(Service):
    """Cancels what nobody asked it to cancel."""

    def publish(self, entry: Entry, revision: int, row: Row) -> None:
        """Nothing."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        super().end(entry, revision, "cancelled" if state == "indexed" else state, error)


class Stammering(Service):
    """Finds chunks twice."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return 2 * super().hits(tenant, query)


class Overlapping(Service):
    """Has chunks twice."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return [{**each, "ordinal": place} for place, each in enumerate(2 * super().chunks(key, versions))]


class Twofold(Service):
    """Stores rows twice."""

    def inventory(self) -> Json:
        told = super().inventory()
        return told | {"rows": [{**each, "rows": 2 * each["rows"]} for each in told["rows"]]}


class Repeating(Service):
    """Keeps messages twice."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": 2 * told["messages"]}


class Fickle(Service):
    """Keeps another answer than it told."""

    def conversation(self, tenant: str, conversation_id: str) -> Json:
        told = super().conversation(tenant, conversation_id)
        return told | {"messages": [{**each, "text": f"{each['text']} Or not."} for each in told["messages"]]}


class Resubmitting(Service):
    """Takes a submission for two."""

    def write(self, entry: Entry) -> int:
        revision = super().write(entry)
        super().write(entry)
        return revision


class Untidy(Service):
    """Leaves the rows of old revisions behind."""

    def remove(self, key: Key, row: Row) -> None:
        stored = dict(self.stored)
        super().remove(key, row)
        self.stored = stored


class Hoarding(Service):
    """Leaves the blobs of old revisions behind."""

    def forget_blob(self, key: Key, revision: int) -> None:
        """Nothing."""


class Mixing(Service):
    """Finds chunks of the revision before, too."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        hits = super().hits(tenant, query)
        older = [{**hit, "revision": hit["revision"] - 1, "ordinal": 7} for hit in hits if hit["revision"] > 4]
        return hits + older


class Patchwork(Service):
    """Gives one chunk of the content before."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return super().chunks(key, versions and (1, *versions[1:-1], max(versions) + 1))


class Shifted(Service):
    """Counts characters wrongly."""

    def chunks(self, key: Key, versions: tuple[int, ...]) -> list[Json]:
        return [{**each, "start": each["start"] + 1} for each in super().chunks(key, versions)]


class Corrupting(Service):
    """Has a content that nobody wrote."""

    def text(self, key: Key, versions: tuple[int, ...]) -> str:
        return super().text(key, versions[::-1] and (versions[0] + 1, *versions[1:]))


class Impatient(Service):
    """Does not wait for the position that a read asks for."""

    def pass_position(self, revision: int) -> None:
        """Nothing."""


class Blind(Service):
    """Does not find what is there."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return []


class Undead(Service):
    """Says that it has deleted what it still shows."""

    def remove(self, key: Key, row: Row) -> None:
        """Nothing."""


class Open(Service):
    """Shows everybody everything."""

    def hits(self, tenant: str, query: str) -> list[Json]:
        return [hit for other in {key[0] for key in self.rows} for hit in super(Open, self).hits(other, query)]


class Stuck(Service):
    """Never ends a thing."""

    def end(self, entry: Entry, revision: int, state: str, error: str | None = None) -> None:
        """Nothing."""


class Misquoting(Service):
    """Quotes what does not stand there."""

    def ask(self, tenant: str, conversation_id: str, question: str) -> Json:
        told = super().ask(tenant, conversation_id, question)
        for citation in told["citations"]:
            citation["quote"] = citation["quote"].replace("e", "a")
        return told


class Jumbling(Service):
    """Sends the pieces of an answer out of order."""

    def ask(self, tenant: str, conversation_id: str, question: str) -> Json:
        told = super().ask(tenant, conversation_id, question)
        return told | {"deltas": told["deltas"][::-1]}


BROKEN: list[tuple[str, type[Service]]] = [
    ("lost", Forgetful),
    ("lost", Unlettered),
    ("lost", Holey),
    ("lost", Rowless),
    ("lost", Speechless),
    ("lost", Arbitrary),
    ("both", Undecided),
    ("both", Cancelling),
    ("doubled", Stammering),
    ("doubled", Overlapping),
    ("doubled", Twofold),
    ("doubled", Repeating),
    ("doubled", Fickle),
    ("doubled", Resubmitting),
    ("orphaned", Untidy),
    ("orphaned", Hoarding),
    ("mixed", Mixing),
    ("mixed", Patchwork),
    ("mixed", Shifted),
    ("mixed", Corrupting),
    ("stale", Impatient),
    ("stale", Blind),
    ("resurrected", Undead),
    ("foreign", Open),
    ("stuck", Stuck),
    ("citation", Misquoting),
    ("stream", Jumbling),
]


@pytest.mark.parametrize(("kind", "service"), BROKEN, ids=lambda each: getattr(each, "__name__", each))
def test_a_broken_service_is_caught(kind: str, service: type[Service]) -> None:
    report = check_lines(story(service()))
    assert report.counts[kind] > 0, report.counts
    assert any(each.kind == kind and each.operations for each in report.violations)
