"""Uploads files side by side and follows each until it is indexed or failed."""

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from engine.parse import media_type_of
from millrace.client import Gateway, GatewayError, GatewayUnreachable

SLUG_CHARS_MAX = 120


def document_id(path: str) -> str:
    """The id for a file: readable, and the same for the same path on every machine and in every run."""
    # macOS takes names apart into letters and accents.
    name = unicodedata.normalize("NFC", path)
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9._~]+", "-", name)[-SLUG_CHARS_MAX:].strip("-._~")
    return f"{slug}-{digest}" if slug else digest


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
                if wait and not await followed(accepted, task):
                    failures.append(path.name)
            except GatewayError as error:
                progress.update(task, state=f"[red]refused: {escape(error.detail or '')}")
                failures.append(path.name)
            except (GatewayUnreachable, OSError) as error:
                progress.update(task, state=f"[red]failed: {escape(str(error))}")
                failures.append(path.name)

        async def followed(accepted: Mapping[str, Any], task: TaskID) -> bool:
            """Show how a document comes on; tells whether it was indexed."""
            state = ""
            async for status in gateway.follow(accepted["document_id"], revision=accepted["revision"]):
                state = status["state"]
                shown = f"[green]{status['state']}" if status["state"] == "indexed" else str(status["state"])
                if status.get("chunks_total"):
                    shown += f" {status['chunks_done']}/{status['chunks_total']} chunks"
                if status.get("error"):
                    shown = f"[red]failed: {escape(status['error']['message'])}"
                progress.update(task, completed=status["progress"], state=shown)
            return state == "indexed"

        width = max(len(path.name) for path in files)
        await asyncio.gather(
            *(one(path, progress.add_task(path.name.ljust(width), total=1.0, state="waiting")) for path in files)
        )
    return len(failures)
