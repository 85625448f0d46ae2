"""The command line. Errors are one line, with a hint where there is one."""

import sys

import typer
from rich.console import Console

from millrace.cli import chaos, dead_letter, operate, reindex, use
from schemas.errors import MillraceError

app = typer.Typer(
    name="millrace",
    help="Documents flow through Kafka into Postgres, and answers come out, with citations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
operate.register(app)
reindex.register(app)
use.register(app)
app.add_typer(dead_letter.app, name="dead-letter")
chaos.register(app)


def main() -> None:
    """Run a command."""
    errors = Console(stderr=True)
    try:
        app()
    except MillraceError as error:
        hint = f" [dim]{error.hint}[/]" if error.hint else ""
        errors.print(f"[red]error:[/] {error}{hint}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
