"""How long to look: seconds by default, and by ``make fuzz`` as long as is asked for."""

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
"""Per test."""
BATCH = settings(
    max_examples=50,
    deadline=None,
    database=None,  # what is found goes into the corpus
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
"""How hypothesis works between two looks at the clock."""


@pytest.fixture(scope="module")
def time_is_up() -> Callable[[], bool]:
    """Whether the test has had its time; what hypothesis wants to try after that is waved through."""
    end_s = time.monotonic() + SECONDS
    return lambda: time.monotonic() > end_s
