"""Workers that fall asleep, lose their partitions and wake, and workers that come and go: nothing happens twice."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.events import DocumentSubmitted, State, TextContent
from tests.conditions import eventually
from tests.guarantees.courses import COURSES, Scene
from tests.guarantees.life import Life

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

DOCUMENTS = 60
FILLING = " ".join(f"Sentence number {index} is here to make it long." for index in range(200))


class Lives:
    """Workers that a test starts and that end with it."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[Life] = []

    def start(self, name: str) -> Life:
        """Start a worker; two of the same name are not awake at a time."""
        life = Life(name, self._logs)
        self._started.append(life)
        return life

    def end(self) -> None:
        """End all of them."""
        for life in self._started:
            life.end()


@pytest.fixture
def lives(away: None, tmp_path: Path) -> Iterator[Lives]:
    started = Lives(tmp_path)
    yield started
    started.end()


@pytest.mark.parametrize(
    ("window", "course", "then"),
    [
        ("W2", "text", "delete"),
        ("W4", "text", "edit"),
        ("W5", "text", "delete"),
        ("Z1", "text", ""),
        ("Z1", "text", "edit"),
        ("W6", "long", "edit"),
        ("W14", "text", "delete"),
        ("W15", "long", "edit"),
        ("Z2", "text", "edit"),
        ("Z2", "text", "delete"),
        ("W19", "edit", "delete"),
        ("W23", "fail", "edit"),
        ("W27", "ask", "delete"),
        ("Z3", "ask", "delete"),
    ],
)
async def test_a_worker_that_wakes_after_others_went_on_changes_nothing(
    lives: Lives, scene: Scene, window: str, course: str, then: str
) -> None:
    sleeper = lives.start("tests")
    if begin := COURSES[course].begin:
        await begin(scene)
    await sleeper.stop_at(window, signal.SIGSTOP)
    await COURSES[course].go(scene)
    await sleeper.stopped()
    lives.start("other")
    await scene.seen.idle()
    if then:
        await COURSES[then].go(scene)
        await scene.seen.idle()
    await scene.seen.assert_sound()
    tables, blobs, final = await scene.seen.tables(), scene.seen.blobs(), await scene.final()
    await sleeper.wake()
    await scene.seen.idle()
    await scene.seen.assert_sound()
    assert (await scene.seen.tables(), scene.seen.blobs()) == (tables, blobs)
    assert await scene.final() == final, "no outcome but those that were told before"


async def test_a_worker_that_sleeps_in_a_transaction_holds_up_its_document_alone(lives: Lives, scene: Scene) -> None:
    sleeper = lives.start("tests")
    await sleeper.stop_at("W17", signal.SIGSTOP)
    await scene.submit()
    await sleeper.stopped()
    lives.start("other")
    await add(scene, "neighbour", "It is not held up.")
    await told(scene, {"neighbour"})
    await sleeper.wake()
    await scene.seen.idle()
    await scene.seen.assert_sound()
    assert {row[0] for row in await scene.seen.rows("document_id FROM documents")} == {"d", "neighbour"}


async def add(scene: Scene, name: str, text: str) -> None:
    await scene.write(
        DocumentSubmitted(
            tenant_id=scene.tenant, document_id=name, media_type="text/plain", content=TextContent(text=text)
        )
    )


async def told(scene: Scene, names: set[str]) -> None:
    """Wait until documents are indexed."""

    async def are() -> bool:
        return names <= {each.document_id for each in await scene.statuses() if each.state is State.INDEXED}

    await eventually(are, deadline_s=60)


async def test_workers_that_come_and_go_under_load_double_nothing(lives: Lives, scene: Scene) -> None:
    """Three workers; one is killed and one joins while documents and their edits go through."""
    names = [f"d-{number}" for number in range(DOCUMENTS)]
    first = lives.start("one")
    for version in ("first", "second"):
        for number, name in enumerate(names):
            await add(scene, name, f"This is the {version} version of {name}. {FILLING}")
            match version, number:
                case "first", 10:
                    lives.start("two")
                case "first", 40:
                    third = lives.start("three")
                case "second", 10:
                    first.end()
                case "second", 40:
                    third.signal(signal.SIGTERM)
    lives.start("four")
    await scene.seen.idle()
    await scene.seen.assert_sound()
    beginnings = {
        name: text
        for name, ordinal, text in await scene.seen.rows("document_id, ordinal, text FROM visible_chunks", "1, 2")
        if ordinal == 0
    }
    assert sorted(beginnings) == sorted(names)
    assert all(text.startswith(f"This is the second version of {name}.") for name, text in beginnings.items())
    assert {state for _, state in await scene.stored()} == {"indexed"}
    assert not await scene.letter_ids()
