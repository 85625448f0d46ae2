"""Whole runs of chaos: minutes each, so that only ``pytest -m chaos`` runs them."""

import sys
from pathlib import Path

import pytest

from millrace.chaos import run as module
from millrace.chaos.run import Run
from millrace.local.home import Home

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


async def test_a_gateway_that_forgets_what_it_acknowledged_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_DEADLINE_S", 30)  # It will not come to rest.
    defective = [sys.executable, "-m", "tests.chaos.defective", "forgetful_gateway"]
    run = Run(1, 0, tmp_path, libs=Home.default().kafka_libs, say=print, millrace=defective)
    summary = await run.run()
    assert summary.report.counts["stuck"]
    assert summary.rounds == 1
