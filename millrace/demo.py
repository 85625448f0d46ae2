"""The demonstration: the sample corpus goes in over HTTP, one search and one question come out."""

from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from millrace.client import Gateway, GatewayError
from millrace.ingest import ingest_files
from millrace.show import citation_line, hit_text

SEARCH = "stone clearance before start-up"
QUESTION = "Why is raddle mixed with water and not with oil?"


async def run(url: str, console: Console) -> None:
    """Index what is not indexed yet, search, and ask."""
    # Here, since the corpus comes with a clone and not with the package.
    from samples.generate import corpus  # noqa: PLC0415

    files = corpus()
    async with Gateway(url) as gateway:
        missing = [path for path in files if not await _is_indexed(gateway, path)]
        if missing:
            console.rule(f"{len(missing)} documents through POST {url}/v1/documents")
            ids = {path: path.name for path in missing}
            await ingest_files(
                gateway, missing, console, parallel=4, wait=True, fields={"collection": "samples"}, ids=ids
            )
        else:
            console.print(f"all {len(files)} documents are indexed already")
        console.rule(f"search: {SEARCH}")
        found = await gateway.search(SEARCH, limit=3)
        for number, hit in enumerate(found["hits"], 1):
            console.print(hit_text(number, hit))
        console.print(f"[dim]{found['took_ms']} ms[/]")
        console.rule(f"question: {QUESTION}")
        async for name, data in gateway.ask(QUESTION):
            if name == "completed":
                console.print(Panel(data["answer"], highlight=False))
                for citation in data["citations"]:
                    console.print(citation_line(citation))


def urls(url: str) -> str:
    """Where to go on."""
    return (
        f"\n  API and its description  {url}/docs\n"
        f"  documents                {url}/v1/documents\n"
        f"  readiness, metrics       {url}/readyz, {url}/metrics\n"
        f"  from another terminal    millrace search WORDS · millrace ask QUESTION · millrace ingest FILE\n"
        "\nCtrl-C stops everything; the data stays.\n"
    )


async def _is_indexed(gateway: Gateway, path: Path) -> bool:
    try:
        status = await gateway.status(path.name)
    except GatewayError:
        return False
    return bool(status["state"] == "indexed")
