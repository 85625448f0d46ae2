"""A process ends exactly in a window, another one goes on: nothing is lost, doubled or left behind."""

import re
from pathlib import Path

import pytest

from tests.guarantees.conftest import Line
from tests.guarantees.courses import COURSES, Scene
from tests.guarantees.windows import WINDOWS, Window

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
async def test_a_process_that_ends_in_a_window_changes_nothing(line: Line, scene: Scene, window: Window) -> None:
    course = COURSES[window.course]
    if course.begin:
        await course.begin(scene)
    await line.life.stop_at(window.name)
    await course.go(scene)
    await line.life.stopped()
    line.next()
    await scene.seen.idle()
    await course.check(scene)
    await scene.seen.assert_sound()


def test_the_page_names_every_window_and_each_has_its_test() -> None:
    named = re.findall(r"^\| (W\d+) \| (\w+) \| (.+?) \|", PAGE.read_text(), re.MULTILINE)
    assert named == [(window.name, window.stage, window.between) for window in WINDOWS]
