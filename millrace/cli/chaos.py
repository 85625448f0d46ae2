"""The command that looks for broken promises.

What it needs is imported in it: an image for servers has no local Kafka and Postgres.
"""

import logging
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from millrace import logs
from millrace.cli.operate import stop_like_ctrl_c

if TYPE_CHECKING:
    from millrace.chaos.summary import Summary

console = Console()

SHOWN_PER_KIND_MAX = 3
"""Violations on the terminal; `--report` has more of them."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chaos)


def chaos(
    rounds: Annotated[int, typer.Option(min=1, help="So many rounds, each with a fault or two.")] = 200,
    seed: Annotated[
        int | None, typer.Option(help="Repeats the faults of a run; another one each time if absent.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A file for the figures, as JSON.")] = None,
) -> None:
    """Break a cluster of its own while clients use it, and check that every promise holds; exit 1 if one does not."""
    import uvloop

    from millrace.chaos.run import Run
    from millrace.local.home import Home

    stop_like_ctrl_c()
    logs.configure("error")
    # Our clients in front of a broker that we broke have nothing to tell.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seed = random.randrange(1 << 31) if seed is None else seed  # noqa: S311 - a number to repeat it by
    folder = Path(tempfile.mkdtemp(prefix="millrace-chaos-"))
    console.print(f"seed {seed}", highlight=False)
    run = Run(rounds, seed, folder, libs=Home.default().kafka_libs, say=_say)
    try:
        summary = uvloop.run(run.run())
    except BaseException:
        _say(f"history and logs are in {folder}")
        raise
    if report:
        summary.write(report)
    _show(summary)
    if summary.report.violations:
        raise typer.Exit(1)
    shutil.rmtree(folder)


def _show(summary: "Summary") -> None:
    report = summary.report
    faults = Table("fault", "times", "left out")
    for kind in sorted(summary.faults | summary.left_out):
        faults.add_row(kind, str(summary.faults[kind]), str(summary.left_out[kind] or ""))
    console.print(faults)
    _say(
        f"{summary.rounds} rounds in {summary.duration_s / 60:.1f} minutes; {report.acknowledged} writes acknowledged, "
        f"{report.reads} reads checked; processes that ended by themselves: {len(summary.unexpected_exits)}"
    )
    for each in summary.unexpected_exits:
        _say(f"  {each['part']}: {each['last_words']}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.counts.items()))
    _say(f"violations: {kinds or 'none'}")
    shown: Counter[str] = Counter()
    for violation in report.violations:
        shown[violation.kind] += 1
        if shown[violation.kind] > SHOWN_PER_KIND_MAX:
            continue
        _say(f"\n{violation.kind} (found in round {summary.rounds}, seed {summary.seed}): {violation.message}")
        for line in summary.excerpt(violation):
            _say(f"  {orjson.dumps(line).decode()}")
    if report.violations:
        _say(f"\nhistory and logs: {summary.folder}\nrepeat it with:   {summary.command}")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
