"""The commands that run Millrace: up, demo, worker, gateway, migrate, topics, settings, clean-data.

What a command needs is imported in it: `millrace search` has no use for Faust, and an image for servers has no local
Kafka and Postgres.
"""

import asyncio
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from millrace import logs
from millrace.settings import CommandSettings
from schemas.topics import FOREVER_MS, GROUP_OF_STAGE

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, demo, worker, gateway, migrate, topics, settings):
        app.command()(command)
    app.command("clean-data")(clean_data)


def up() -> None:
    """Start everything on this machine, and keep it running until Ctrl-C."""
    from millrace import demo as demonstration
    from millrace.stack import running

    stop_like_ctrl_c()
    with suppress(KeyboardInterrupt), running(_say) as stack:
        console.print(demonstration.urls(stack.url))
        for _ in stack.watch():
            pass


def demo() -> None:
    """Start everything, index the sample corpus, search it and ask about it; stays up until Ctrl-C."""
    from millrace import demo as demonstration
    from millrace.stack import running

    stop_like_ctrl_c()
    with suppress(KeyboardInterrupt), running(_say) as stack:
        asyncio.run(demonstration.run(stack.url, console))
        console.print(demonstration.urls(stack.url))
        for _ in stack.watch():
            pass


def worker(
    stages: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(GROUP_OF_STAGE)}; all of them if none is named.")
    ] = None,
) -> None:
    """Run stages of the flow, each as a member of its own consumer group."""
    import uvloop

    unknown = set(stages or ()) - set(GROUP_OF_STAGE)
    if unknown:
        raise typer.BadParameter(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(GROUP_OF_STAGE)}")
    logs.configure(CommandSettings().log_level)
    uvloop.run(_work(stages or list(GROUP_OF_STAGE)))


async def _work(stages: list[str]) -> None:
    from streams.worker import run_worker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_worker(stages, stop)


def gateway() -> None:
    """Serve the HTTP interface."""
    import uvloop

    from gateway.serve import serve
    from gateway.settings import GatewaySettings

    logs.configure(CommandSettings().log_level)
    uvloop.run(serve(GatewaySettings()))


def migrate() -> None:
    """Bring the database's tables up to date."""
    from db.pool import DatabaseSettings
    from millrace.tables import bring_up_to_date

    applied = bring_up_to_date(DatabaseSettings())
    console.print(f"applied: {', '.join(applied)}" if applied else "nothing to do")


def topics(
    check: Annotated[bool, typer.Option(help="Only compare; exit 1 if something is missing or differs.")] = False,
) -> None:
    """Create the topics that are missing, and compare the others with their declaration."""
    from schemas.broker import BrokerSettings, ensure_topics

    reports = asyncio.run(ensure_topics(BrokerSettings(), create=not check))
    table = Table("topic", "partitions", "retention", "cleanup", "state")
    for report in reports:
        topic = report.topic
        retention = "forever" if topic.retention_ms == FOREVER_MS else f"{topic.retention_ms // 86_400_000} days"
        state = "created" if report.created else "; ".join(report.differences) or "as declared"
        table.add_row(topic.name, str(topic.partitions), retention, topic.config()["cleanup.policy"], state)
    console.print(table)
    if check and any(report.differences for report in reports):
        raise typer.Exit(1)


def settings() -> None:
    """Print all settings as Markdown."""
    from millrace.reference import settings_page

    typer.echo(settings_page(), nl=False)


def clean_data() -> None:
    """Forget everything that the local Kafka, Postgres and object store keep."""
    from millrace.local.home import Home
    from millrace.local.lock import FolderLock

    home = Home(Path(CommandSettings().home).expanduser().absolute())
    for folder in (home.kafka, home.postgres):
        if folder.exists():
            # Refuses while a server runs on it.
            FolderLock(folder / "lock").release()
    for folder in (home.kafka, home.postgres, home.blobs, home.logs):
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"nothing is left in {home.root} but Kafka's jars")


def _say(line: str) -> None:
    console.print(f"[dim]millrace[/] {line}", highlight=False)


def stop_like_ctrl_c() -> None:
    """Let a SIGTERM end the command in order, as Ctrl-C does; a shell's background job would ignore the latter."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
