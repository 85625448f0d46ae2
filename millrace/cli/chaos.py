"""The command that looks for broken promises.

What it needs is imported in it: an image for servers has no local Kafka and Postgres.
"""

import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from millrace import logs
from millrace.cli.operate import stop_like_ctrl_c

if TYPE_CHECKING:
    from millrace.chaos.report import Summary

console = Console()


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
    if summary.violations:
        raise typer.Exit(1)
    shutil.rmtree(folder)


def _show(summary: "Summary") -> None:
    table = Table("rounds", "acknowledged writes", "reads checked", "unexpected exits", "violations", "minutes")
    figures = summary.rounds, summary.acknowledged, summary.reads, summary.unexpected_exits, len(summary.violations)
    table.add_row(*map(str, figures), f"{summary.duration_s / 60:.1f}")
    console.print(table)
    faults = Table("fault", "times", "left out")
    for kind in sorted(summary.faults | summary.left_out):
        faults.add_row(kind, str(summary.faults[kind]), str(summary.left_out[kind] or ""))
    console.print(faults)
    for finding in summary.violations:
        console.print(f"[red]{finding.kind}[/] (round {finding.round}, seed {summary.seed}):", end=" ")
        _say(finding.message)
        for line in summary.excerpt(finding):
            _say(f"  {orjson.dumps(line).decode()}")
    if summary.violations:
        _say(f"history and logs: {summary.folder}\nrepeat it with:   {summary.command}")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
