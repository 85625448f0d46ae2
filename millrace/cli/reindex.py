"""The commands that rebuild the index beside the live one: reindex, and its list, watch, swap, back and abandon.

What a command needs is imported in it: `millrace search` has no use for Kafka.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.settings import GatewaySettings
from millrace.settings import CommandSettings

if TYPE_CHECKING:
    from db.generations import Generation
    from millrace.reindex import Look, Reindexing

console = Console()
commands = typer.Typer(help="Rebuild the index beside the live one, compare, and swap.", invoke_without_command=True)

NOBODY_AFTER_S = 10
"""Workers notice a new generation within a second, and take a few more to begin."""

Queries = Annotated[
    Path | None, typer.Option(help="Queries to compare with, one a line; else headings of the index itself.")
]
Swap = Annotated[bool, typer.Option("--swap", help="Swap without asking, once it has caught up.")]
Force = Annotated[bool, typer.Option("--force", help="Swap also if documents are missing or have failed.")]
Sample = Annotated[int, typer.Option(min=1, help="Queries to take from the index.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="reindex")


@commands.callback()
def reindex(
    context: typer.Context,
    embedder: Annotated[str | None, typer.Option(help="wordllama, openai or onnx.")] = None,
    embedder_model: Annotated[str | None, typer.Option(help="Name of the model at the endpoint.")] = None,
    embedder_url: Annotated[str | None, typer.Option(help="Base URL of the endpoint.")] = None,
    embedder_dimensions: Annotated[int | None, typer.Option(help="Numbers in a vector of that model.")] = None,
    embedder_path: Annotated[str | None, typer.Option(help="Folder of a local model, on every worker.")] = None,
    chunk_tokens: Annotated[int | None, typer.Option(help="Tokens in a chunk, at most.")] = None,
    chunk_overlap: Annotated[int | None, typer.Option(help="Tokens shared with the chunk before, at most.")] = None,
    queries: Queries = None,
    sample: Sample = 50,
    swap: Swap = False,
    force: Force = False,
) -> None:
    """Build a new generation of the index from the log, beside the live one.

    What is not given here is as the workers' own settings say; keys are always theirs.
    """
    if context.invoked_subcommand:
        return
    embedder_settings = {
        name: value
        for name, value in {
            "kind": embedder,
            "model": embedder_model,
            "url": embedder_url,
            "dimensions": embedder_dimensions,
            "path": embedder_path,
        }.items()
        if value is not None
    }
    chunker_settings = {
        name: value
        for name, value in {"tokens_max": chunk_tokens, "overlap_tokens": chunk_overlap}.items()
        if value is not None
    }

    async def run() -> None:
        from millrace.reindex import Reindexing

        async with Reindexing.opened() as reindexing:
            generation = await reindexing.begin(embedder_settings, chunker_settings)
            console.print(f"generation {generation.number} is being built; Ctrl-C leaves it to the workers")
            await _finish(reindexing, generation, queries, sample, swap=swap, force=force)

    asyncio.run(run())


@commands.command()
def watch(queries: Queries = None, sample: Sample = 50, swap: Swap = False, force: Force = False) -> None:
    """Follow the generation that is being built, or kept, up to the comparison."""

    async def run() -> None:
        from millrace.reindex import Reindexing

        async with Reindexing.opened() as reindexing:
            await _finish(reindexing, await reindexing.built(), queries, sample, swap=swap, force=force)

    asyncio.run(run())


@commands.command("list")
def list_generations() -> None:
    """Show the generations."""

    async def run() -> None:
        from db import generations
        from millrace.reindex import Reindexing

        table = Table("generation", "state", "since", "embedder", "chunker", "documents", "behind", "workers")
        async with Reindexing.opened() as reindexing:
            for generation in await generations.listed(reindexing.pool):
                look = await reindexing.look(generation.number) if generation.state.served else None
                table.add_row(
                    str(generation.number),
                    generation.state,
                    f"{generation.changed_at:%Y-%m-%d %H:%M:%S}",
                    _settings(generation.embedder),
                    _settings(generation.chunker),
                    f"{look.progress.done}/{look.progress.total}" if look else "",
                    _lags(look) if look else "",
                    _workers(look) if look else "",
                )
        console.print(table)

    asyncio.run(run())


@commands.command("swap")
def swap_to(
    number: Annotated[int, typer.Argument(help="The generation that readers shall see.")], force: Force = False
) -> None:
    """Make a generation the one that readers see; the one before is kept."""

    async def run() -> None:
        from millrace.reindex import Reindexing

        async with Reindexing.opened() as reindexing:
            await _swap(reindexing, number, force=force)

    asyncio.run(run())


@commands.command()
def back(force: Force = False) -> None:
    """Go back to the generation that readers saw before."""

    async def run() -> None:
        from db import generations
        from millrace.reindex import Reindexing

        async with Reindexing.opened() as reindexing:
            previous = await generations.previous(reindexing.pool)
            await _swap(reindexing, previous.number, force=force)

    asyncio.run(run())


@commands.command()
def abandon(number: Annotated[int, typer.Argument(help="The generation to remove.")]) -> None:
    """Remove a generation that is not live, with all that it keeps; what was interrupted goes on."""

    async def run() -> None:
        from millrace.reindex import Reindexing

        async with Reindexing.opened() as reindexing:
            await reindexing.abandon(number)
        console.print(f"generation {number} is gone")

    asyncio.run(run())


async def _finish(
    reindexing: "Reindexing",
    generation: "Generation",
    queries: Path | None,
    sample: int,
    *,
    swap: bool,
    force: bool,
) -> None:
    """Follow a generation until it has caught up, compare it, and swap it in if that is wanted."""
    from db import generations
    from millrace.compare import compare

    look = await _follow(reindexing, generation.number)
    live = await generations.live(reindexing.pool)
    if queries:
        questions = _questions(queries)
    else:
        questions = list(await generations.questions(reindexing.pool, live.number, sample))
    comparison = await compare(reindexing.database, live, generation, questions)
    table = Table("", f"{live.number} (live)", str(generation.number))
    for percent in (50, 95):
        table.add_row(
            f"latency p{percent}",
            f"{comparison.live.percentile_ms(percent):.1f} ms",
            f"{comparison.other.percentile_ms(percent):.1f} ms",
        )
    console.print(table)
    console.print(
        f"{comparison.questions} queries: overlap@10 {comparison.overlap:.2f}, "
        f"rank-biased overlap {comparison.rank_biased_overlap:.2f}; "
        f"{look.progress.failed} documents that the live generation shows have failed",
        highlight=False,
    )
    if look.progress.failed and not force:
        console.print("not swapped: see their statuses in the dead letter, or --force it")
    elif swap or (console.is_terminal and typer.confirm(f"Shall readers see generation {generation.number} now?")):
        await _swap(reindexing, generation.number, force=force)
    else:
        console.print(f"`millrace reindex swap {generation.number}` lets readers see it", highlight=False)


async def _follow(reindexing: "Reindexing", number: int) -> "Look":
    began, first = time.monotonic(), None
    with Live(console=console) as display:
        async for look in reindexing.follow(number):
            elapsed_s = time.monotonic() - began
            first = look.progress.done if first is None else first
            rate = (look.progress.done - first) / elapsed_s if elapsed_s > 1 else 0.0
            line = (
                f"{look.progress.done}/{look.progress.total} documents, {rate:.0f}/s, {look.progress.failed} failed; "
                f"behind: {_lags(look)}"
            )
            if elapsed_s > NOBODY_AFTER_S and not all(look.workers.values()):
                nobody = ", ".join(stage for stage, count in look.workers.items() if not count)
                line += f"\nno worker runs {nobody} for it: is `millrace worker` running, and what does its log say?"
            display.update(line)
    return look


async def _swap(reindexing: "Reindexing", number: int, *, force: bool) -> None:
    from db import generations

    before = await generations.swap(reindexing.pool, number, force=force)
    console.print(
        f"readers see generation {number}; {before.number} is kept: `millrace reindex back`, "
        f"or `millrace reindex abandon {before.number}` when it is not needed any more",
        highlight=False,
    )


def _questions(queries: Path) -> list[tuple[str, str]]:
    tenant = CommandSettings().tenant or GatewaySettings().default_tenant
    return [(tenant, line.strip()) for line in queries.read_text().splitlines() if line.strip()]


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "as the workers' own"


def _lags(look: "Look") -> str:
    return ", ".join(f"{stage} {count}" for stage, count in look.lags.items())


def _workers(look: "Look") -> str:
    return ", ".join(f"{stage} {count}" for stage, count in look.workers.items())
