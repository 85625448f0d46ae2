"""Whatever is written, in whatever order the stages get at it: every step is one of the table's, every end sound."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import product
from typing import ClassVar

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from db.pool import DatabaseSettings, Pool, close, connect
from schemas.events import TRANSITIONS, State, reaches
from tests.guarantees.flow import STAGES, Document, Flow

LONG = " ".join(f"Sentence {index} stands here." for index in range(4_000))
"""Several batches of chunks."""
TEXTS = ("The pin is yellow.", "The pin is red.", LONG)
NO_PDF = "This is no PDF."
EXAMPLES = 15
STEPS = 16
WATCH = """
CREATE TABLE public.walked_transitions (tenant_id text, revision bigint, before text, after text);
CREATE FUNCTION note_walked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.walked_transitions VALUES (NEW.tenant_id, NEW.revision, OLD.state, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER note_walked AFTER UPDATE OF state ON document_processing
FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION note_walked();
"""
UNWATCH = """
DROP TRIGGER note_walked ON document_processing;
DROP FUNCTION note_walked;
DROP TABLE public.walked_transitions;
"""


@pytest.fixture(scope="module")
def watched(environment: dict[str, str], database_url: str) -> Iterator[None]:
    """Every change of a stored state is noted by the database itself."""

    async def execute(statements: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("SET search_path TO g1, public")
        await connection.execute(statements)
        await connection.close()

    run_apart(partial(execute, WATCH))
    yield
    run_apart(partial(execute, UNWATCH))


def run_apart(work: Callable[[], Awaitable[None]]) -> None:
    """Run something in a loop of its own."""
    with asyncio.Runner() as runner:
        runner.run(_awaited(work))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def walked(flow: Flow) -> set[tuple[State, State]]:
    """The transitions that were stored."""
    return {
        (State(before), State(after))
        for before, after in await flow.rows("before, after FROM public.walked_transitions")
    }


class Courses(RuleBasedStateMachine):
    """One document, whoever writes it, and the workers of three stages, some of which sleep now and then."""

    runner: ClassVar[asyncio.Runner]
    pool: ClassVar[Pool]

    @initialize()
    def begin(self) -> None:
        self.flow = Flow(self.pool)
        self.texts: dict[int, str | None] = {}
        """By revision: what was submitted; None of what cannot be parsed."""
        self.deleted = self.cancelled = 0
        """The newest places of a deletion and of a cancellation."""
        self.given_up = False
        self.seen = Document(0, True, "")

    @rule(text=st.sampled_from(TEXTS), received=st.booleans())
    def submit(self, text: str, received: bool) -> None:
        revision = self.runner.run(self.flow.submit(text))
        self.texts[revision] = text
        if received:
            self.runner.run(self.flow.receive(revision))

    @rule()
    def submit_what_cannot_be_parsed(self) -> None:
        self.texts[self.runner.run(self.flow.submit(NO_PDF, "application/pdf"))] = None

    @rule()
    def resubmit(self) -> None:
        self.runner.run(self.flow.resubmit())

    @rule(received=st.booleans(), foreseen=st.booleans())
    def delete(self, received: bool, foreseen: bool) -> None:
        self.deleted = self.runner.run(self.flow.delete())
        if received:
            self.runner.run(self.flow.receive(self.deleted, State.DELETING))
        if foreseen:
            self.runner.run(self.flow.foresee(self.deleted))

    @rule(foreseen=st.booleans())
    def cancel(self, foreseen: bool) -> None:
        self.cancelled = self.runner.run(self.flow.cancel())
        if foreseen:
            self.runner.run(self.flow.foresee(self.cancelled))

    @rule(stage=st.sampled_from(STAGES), count=st.integers(1, 4))
    def step(self, stage: str, count: int) -> None:
        self.runner.run(self.flow.step(stage, count if stage == "index" else 1))

    @rule(stage=st.sampled_from(STAGES))
    def give_up(self, stage: str) -> None:
        self.given_up = True
        self.runner.run(self.flow.give_up(stage))

    @rule(stage=st.sampled_from(STAGES), back=st.integers(1, 4))
    def crash(self, stage: str, back: int) -> None:
        """The next worker begins where the last one had committed."""
        self.flow.passed[stage] = max(0, self.flow.passed[stage] - back)

    @precondition(lambda self: any(self.flow.passed.values()))
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """A worker that fell asleep does what it was at."""
        stage = data.draw(st.sampled_from([stage for stage in STAGES if self.flow.passed[stage]]))
        self.runner.run(self.flow.again(stage, data.draw(st.integers(0, self.flow.passed[stage] - 1))))

    @invariant()
    def readers_see_one_revision_and_never_an_older_one(self) -> None:
        document = self.runner.run(self.flow.document())
        assert document.revision >= self.seen.revision
        assert document.deleted == (document.text == "")
        if document.revision == self.seen.revision:
            assert document == self.seen
        if not document.deleted and document.revision in self.texts:
            assert document.text == self.texts[document.revision]
        self.seen = document

    @invariant()
    def every_step_is_one_of_the_table(self) -> None:
        for before, after in self.runner.run(walked(self.flow)):
            assert reaches(before, after), (before, after)

    def teardown(self) -> None:
        self.runner.run(self._assert_sound_end())

    async def _assert_sound_end(self) -> None:
        await self.flow.drain()
        document = await self.flow.document()
        states = dict(await self.flow.rows("revision, state FROM document_processing"))
        assert all(State(state).final for state in states.values()), states
        if self.deleted in states and not self.given_up:
            assert states[self.deleted] == State.DELETED
        letters = {revision for (revision,) in await self.flow.rows("revision FROM dead_letters")}
        assert letters >= {revision for revision, state in states.items() if state == State.FAILED}
        assert document.deleted or document.revision not in letters, "both indexed and dead"
        assert document.deleted or document.revision > self.deleted or self.given_up
        newest = max(self.texts, default=0)
        if newest > max(self.deleted, self.cancelled) and self.texts[newest] and not self.given_up:
            assert document.text == self.texts[newest]
        needed = {key for (key,) in await self.flow.rows("blob_key FROM blob_uses")}
        assert self.flow.blobs() == needed
        texts = await self.flow.rows("text_key FROM documents")
        assert {key for key in needed if "/texts/" in key} == {key for (key,) in texts if key}
        for (settled,) in await self.flow.rows("settled FROM documents"):
            assert settled == len(self.flow.records("parse"))


def test_every_step_is_one_of_the_table_and_every_end_sound(watched: None) -> None:
    with asyncio.Runner() as Courses.runner:
        Courses.pool = Courses.runner.run(connect(DatabaseSettings()))
        try:
            run_state_machine_as_test(
                Courses,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    phases=(Phase.explicit, Phase.generate),
                ),
            )
        finally:
            Courses.runner.run(close(Courses.pool))


async def _to_the_end(flow: Flow, text: str) -> None:
    await flow.receive(await flow.submit(text))
    await flow.drain()
    await flow.receive(await flow.delete(), State.DELETING)
    await flow.drain()


async def _undeleted(flow: Flow) -> None:
    await flow.receive(await flow.delete(), State.DELETING)
    await flow.give_up("parse")
    await flow.drain()


async def _ended(flow: Flow, text: str, stages: tuple[str, ...], *, fails: bool, unparsable: bool = False) -> None:
    """A revision that ends behind these stages: it fails in the next one, or is cancelled."""
    await flow.receive(await flow.submit(NO_PDF if unparsable else text, *["application/pdf"] * unparsable))
    for stage in stages:
        await flow.step(stage, len(flow.records(stage)))
    if not fails:
        await flow.foresee(await flow.cancel())
    elif not unparsable:
        await flow.give_up(STAGES[len(stages)])
    await flow.drain()


async def test_every_transition_of_the_table_is_walked(watched: None, pool: Pool) -> None:
    found = set()
    for text in (TEXTS[0], LONG):
        flow = Flow(pool)
        await _to_the_end(flow, text)
        found |= await walked(flow)
    flow = Flow(pool)
    await _undeleted(flow)
    found |= await walked(flow)
    for text, fails in product((TEXTS[0], LONG), (True, False)):
        for stages, unparsable in ((), False), (("parse",), True), (("parse",), False), (("parse", "embed"), False):
            flow = Flow(pool)
            await _ended(flow, text, stages, fails=fails, unparsable=unparsable)
            found |= await walked(flow)
    assert found == {(state, following) for state in State for following in TRANSITIONS[state]}
