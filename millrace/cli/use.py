"""The commands that use a running Millrace: ingest, search, ask, status, why, cancel, retry, reprocess, delete."""

import asyncio
import glob
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.parse import media_type_of
from millrace.client import Gateway
from millrace.ingest import document_id, ingest_files
from millrace.settings import CommandSettings
from millrace.show import citation_line, hit_text, letter_line, status_text

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ingest, search, ask, status, why, cancel, retry, reprocess, delete):
        app.command()(command)


def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, folders (with all below them) and globs.")],
    collection: Annotated[str | None, typer.Option(help="The collection they belong to.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of theirs; may be given several times.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Uploads at a time.")] = 4,
    wait: Annotated[bool, typer.Option(help="Wait until each is indexed or failed.")] = True,
) -> None:
    """Upload documents and follow them until they are searchable.

    Documents are named after the folder and their path in it: a second run makes new revisions, not new documents.
    """
    ids = dict(files_of(paths))
    if not ids:
        raise typer.BadParameter(f"no file of a supported type in {', '.join(paths)}")
    fields = {name: value for name, value in (("collection", collection), ("tags", ",".join(tag or ()))) if value}

    async def run() -> int:
        async with connect_gateway() as gateway:
            return await ingest_files(gateway, list(ids), console, parallel=parallel, wait=wait, fields=fields, ids=ids)

    if asyncio.run(run()):
        raise typer.Exit(1)


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    mode: Annotated[str, typer.Option(help="hybrid, vector or text.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 5,
    collection: Annotated[str | None, typer.Option(help="Only in this collection.")] = None,
) -> None:
    """Search the documents."""

    async def run() -> dict[str, Any]:
        async with connect_gateway() as gateway:
            filters = {"collection": collection} if collection else {}
            return await gateway.search(query, mode=mode, limit=limit, filters=filters)

    found = asyncio.run(run())
    for number, hit in enumerate(found["hits"], 1):
        console.print(hit_text(number, hit))
    console.print(f"[dim]{len(found['hits'])} hits in {found['took_ms']} ms[/]")


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    conversation: Annotated[str | None, typer.Option(help="The conversation to go on with.")] = None,
) -> None:
    """Ask a question; the answer comes with its citations."""

    async def run() -> int:
        async with connect_gateway() as gateway:
            options = {"conversation_id": conversation} if conversation else {}
            async for name, data in gateway.ask(question, **options):
                match name:
                    case "delta":
                        if data["index"] == 0:
                            console.print()
                        console.print(escape(data["text"]), end="", highlight=False)
                    case "completed":
                        console.print("\n")
                        for citation in data["citations"]:
                            console.print(citation_line(citation))
                        console.print(f"[dim]conversation {data['conversation_id']}[/]")
                    case _:
                        console.print(f"[red]error:[/] {escape(data.get('error', {}).get('message', 'no answer'))}")
                        return 1
        return 0

    raise typer.Exit(asyncio.run(run()))


def status(
    document_id: Annotated[str | None, typer.Argument(help="One document; all of them if not given.")] = None,
) -> None:
    """Show where Millrace and its documents stand."""

    async def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with connect_gateway() as gateway:
            if document_id:
                return {}, [await gateway.status(document_id)]
            return await gateway.readiness(), [document["status"] async for document in gateway.documents()]

    readiness, statuses = asyncio.run(run())
    table = Table("document", "state", "chunks", "updated", "error")
    for each in statuses:
        error = f"{each['error']['type']}: {each['error']['message']}" if each.get("error") else ""
        chunks = f"{each['chunks_done']}/{each['chunks_total']}" if each["chunks_total"] else ""
        table.add_row(each["document_id"], each["state"], chunks, each["updated_at"][:19], escape(error))
    console.print(table)
    if readiness:
        lag = ", ".join(f"{stage} {count}" for stage, count in (readiness["lag"] or {}).items()) or "unknown"
        console.print(f"ready: {readiness['ready']}; behind: {lag}", highlight=False)


DocumentArgument = Annotated[str, typer.Argument(help="The document's id.")]


def why(document_id: DocumentArgument) -> None:
    """Tell where a document stands and, if it failed, why, with its dead letters."""

    async def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with connect_gateway() as gateway:
            letters = [letter async for letter in gateway.dead_letters(document_id=document_id)]
            return await gateway.status(document_id), letters

    status, letters = asyncio.run(run())
    console.print(status_text(status))
    for letter in letters:
        console.print(letter_line(letter))


def cancel(document_id: DocumentArgument) -> None:
    """Stop what is unfinished of a document."""
    _act(document_id, Gateway.cancel)


def retry(document_id: DocumentArgument) -> None:
    """Try a document again that failed or was cancelled."""
    _act(document_id, Gateway.retry)


def reprocess(document_id: DocumentArgument) -> None:
    """Run a document's newest content through the pipeline again."""
    _act(document_id, Gateway.reprocess)


def delete(document_id: DocumentArgument) -> None:
    """Forget a document."""
    _act(document_id, Gateway.delete)


def _act(document_id: str, action: Callable[[Gateway, str], Awaitable[dict[str, Any]]]) -> None:
    """Do something to a document, and tell where it stands once that has its outcome."""

    async def run() -> dict[str, Any]:
        async with connect_gateway() as gateway:
            accepted = await action(gateway, document_id)
            return await gateway.status(document_id, position=accepted["position"])

    console.print(status_text(asyncio.run(run())))


def connect_gateway() -> Gateway:
    """A client of the gateway that the settings name."""
    settings = CommandSettings()
    return Gateway(settings.url, settings.tenant)


def files_of(paths: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Every file of a supported type under the paths, once each, with its document's id.

    A file that is named itself is taken as it is.
    """
    owners: dict[str, Path] = {}
    for path in paths:
        matches = [Path(match) for match in glob.glob(path, recursive=True)] or [Path(path)]  # noqa: PTH207
        for match in sorted(matches):
            if match.is_dir():
                found = sorted(file for file in match.rglob("*") if file.is_file() and media_type_of(file.name))
            elif match.is_file():
                found = [match]
            else:
                raise typer.BadParameter(f"there is no {match}")
            folder = match.absolute() if match.is_dir() else match.absolute().parent
            for file in found:
                # The folder's own name is part of it: two folders may each have a README.
                own_id = document_id(Path(folder.name, file.absolute().relative_to(folder)).as_posix())
                owner = owners.setdefault(own_id, file)
                if owner is file:
                    yield file, own_id
                elif not owner.samefile(file):
                    raise typer.BadParameter(f"{owner} and {file} would be one document; name the folder above both")
