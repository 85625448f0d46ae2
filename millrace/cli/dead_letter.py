"""The commands for what could not be processed: dead-letter list, show, replay, discard."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from millrace.cli.use import connect_gateway
from millrace.client import Gateway
from millrace.show import letter_text

app = typer.Typer(help="What could not be processed: look at it, send it again, or give it up.", no_args_is_help=True)
console = Console()

LetterIds = Annotated[list[str] | None, typer.Argument(help="Ids of letters; those that meet the options if none.")]
All = Annotated[bool, typer.Option("--all", help="All that are open.")]
Document = Annotated[str | None, typer.Option(help="Only those of this document.")]
ErrorType = Annotated[str | None, typer.Option(help="Only those with this error's type.")]
Stage = Annotated[str | None, typer.Option(help="Only those that this stage gave up.")]


@app.command("list")
def list_letters(
    state: Annotated[
        str, typer.Option(help="open, replayed, discarded or superseded; all of them if it is empty.")
    ] = "open",
    document: Document = None,
    error_type: ErrorType = None,
    stage: Stage = None,
) -> None:
    """List dead letters, newest first."""

    async def run() -> list[dict[str, Any]]:
        async with connect_gateway() as gateway:
            filters = {"state": state, "document_id": document, "error_type": error_type, "stage": stage}
            given = {name: value for name, value in filters.items() if value}
            return [letter async for letter in gateway.dead_letters(**given)]

    table = Table("letter", "state", "document", "stage", "error", "failed")
    for letter in asyncio.run(run()):
        cells = (letter[name] or "" for name in ("letter_id", "state", "document_id", "stage", "error_type"))
        table.add_row(*cells, letter["failed_at"][:19])
    console.print(table)


@app.command()
def show(letter_id: Annotated[str, typer.Argument(help="The letter's id.")]) -> None:
    """Show a dead letter: why it is one, what was done about it, and the record itself."""

    async def run() -> dict[str, Any]:
        async with connect_gateway() as gateway:
            return await gateway.dead_letter(letter_id)

    console.print(letter_text(asyncio.run(run())))


@app.command()
def replay(
    letter_ids: LetterIds = None,
    document: Document = None,
    error_type: ErrorType = None,
    stage: Stage = None,
    every: All = False,
) -> None:
    """Send dead letters again: by id, by what they have in common, or all of them."""
    filters = _filters(letter_ids, every, document_id=document, error_type=error_type, stage=stage)
    console.print(f"{asyncio.run(_for_each(letter_ids, filters, Gateway.replay, Gateway.replay_all))} replayed")


@app.command()
def discard(
    letter_ids: LetterIds = None,
    document: Document = None,
    error_type: ErrorType = None,
    stage: Stage = None,
    every: All = False,
) -> None:
    """Give dead letters up, and the content of their documents with them."""
    filters = _filters(letter_ids, every, document_id=document, error_type=error_type, stage=stage)
    console.print(f"{asyncio.run(_for_each(letter_ids, filters, Gateway.discard, Gateway.discard_all))} discarded")


def _filters(letter_ids: list[str] | None, every: bool, **filters: str | None) -> dict[str, str]:
    """The filters that are given; nothing given is no way to say all."""
    given = {name: value for name, value in filters.items() if value}
    if bool(letter_ids) + bool(given) + every != 1:
        raise typer.BadParameter("name letters, or say what they have in common, or --all")
    return given


async def _for_each(
    letter_ids: list[str] | None,
    filters: dict[str, str],
    one: Callable[[Gateway, str], Awaitable[dict[str, Any]]],
    many: Callable[..., Awaitable[dict[str, Any]]],
) -> int:
    """Do something with letters; how many those were."""
    async with connect_gateway() as gateway:
        if letter_ids:
            for letter_id in letter_ids:
                await one(gateway, letter_id)
            return len(letter_ids)
        done, more = 0, True
        while more:
            answer = await many(gateway, **filters)
            more = answer.pop("more")
            [letters] = answer.values()
            done += len(letters)
        return done
