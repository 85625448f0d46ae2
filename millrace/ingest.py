"""Uploads files side by side and follows each until it is indexed or failed."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from engine.parse import media_type_of
from millrace.client import Gateway, GatewayError


async def ingest_files(
    gateway: Gateway,
    files: Sequence[Path],
    console: Console,
    *,
    parallel: int,
    wait: bool,
    fields: Mapping[str, str],
    ids: Mapping[Path, str] | None = None,
) -> int:
    """Upload ``files`` with the form ``fields``, under ``ids`` where they have one; return how many failed."""
    uploads = asyncio.Semaphore(parallel)
    failures: list[str] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:

        async def one(path: Path, task: TaskID) -> None:
            own = {"document_id": ids[path]} if ids and path in ids else {}
            try:
                async with uploads:
                    progress.update(task, state="uploading")
                    accepted = await gateway.add_file(path, media_type_of(path.name), **own, **fields)
                progress.update(task, state="accepted", completed=0.05)
                if wait:
                    await _follow(gateway, accepted["document_id"], progress, task)
            except GatewayError as error:
                progress.update(task, state=f"[red]refused: {escape(error.detail or '')}")
                failures.append(path.name)

        async def _follow(gateway: Gateway, document_id: str, progress: Progress, task: TaskID) -> None:
            async for status in gateway.follow(document_id):
                shown = f"[green]{status['state']}" if status["state"] == "indexed" else str(status["state"])
                if status.get("chunks_total"):
                    shown += f" {status['chunks_done']}/{status['chunks_total']} chunks"
                if status.get("error"):
                    shown = f"[red]failed: {escape(status['error']['message'])}"
                    failures.append(document_id)
                progress.update(task, completed=status["progress"], state=shown)

        width = max(len(path.name) for path in files)
        await asyncio.gather(
            *(one(path, progress.add_task(path.name.ljust(width), total=1.0, state="waiting")) for path in files)
        )
    return len(failures)
