"""The table and the plots of what is recorded: `results/README.md` beside `results.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.corpora import SIZES
from benchmarks.results import Results

Section = Mapping[str, Any]
Recorded = Mapping[str, Mapping[str, Section]]
PEER = "peer "
DOORS = {
    "over HTTP": "ingest over http",
    "over Kafka": "ingest over kafka",
    "over Kafka, embedder over HTTP": "ingest over kafka, embedder over http",
}
PUBLIC = "public"
"""The corpus that `benchmarks.public` fetches."""
CORPORA = (*SIZES, PUBLIC)


def write(results: Results) -> None:
    """Write them anew."""
    mpl.use("Agg")
    recorded = results.read()
    parts = [
        _ingest(recorded, results.folder),
        _limits(recorded),
        _search(recorded, results.folder),
        _freshness(recorded, results.folder),
        _costs(recorded),
        _taken(recorded),
    ]
    (results.folder / "README.md").write_text("# Results\n\n" + "\n".join(filter(None, parts)))


def _sizes(recorded: Recorded, part: str) -> list[str]:
    return [size for size in CORPORA if size in recorded.get(part, {})]


def _ingest(recorded: Recorded, folder: Path) -> str:
    text = "## Ingest\n"
    for size in _sizes(recorded, DOORS["over HTTP"]):
        sections = {
            f"Millrace {door}": recorded[part][size] for door, part in DOORS.items() if size in recorded.get(part, {})
        }
        peers = {
            part.removeprefix(PEER): kinds[size] for part, kinds in recorded.items() if _is_peer(part, kinds, size)
        }
        best = {
            moment: max((each[f"characters_per_s_{moment}"] for each in peers.values()), default=0)
            for moment in ("searchable", "indexed")
        }
        rows = [
            [
                name,
                each["chunks"],
                each["chunks_per_s_searchable"],
                each["chunks_per_s_indexed"],
                *(_ratio(each[f"characters_per_s_{moment}"], best[moment]) for moment in best),
            ]
            for name, each in {**sections, **peers}.items()
        ]
        head = ["", "chunks", "chunks/s searchable", "chunks/s indexed", "text/s searchable", "text/s indexed"]
        text += f"\nCorpus {size}; text per second as a multiple of the best peer's.\n\n{_table(head, rows)}"
        text += _bars(
            folder / f"ingest-{size}.png",
            {name: each["chunks_per_s_searchable"] for name, each in {**sections, **peers}.items()},
            f"chunks/s to searchable, {size}",
        )
    return text


def _is_peer(part: str, kinds: Mapping[str, Section], size: str) -> bool:
    return part.startswith(PEER) and size in kinds


def _limits(recorded: Recorded) -> str:
    text = "## What the parts could do alone\n"
    for size in _sizes(recorded, "limits"):
        section = recorded["limits"][size]
        rows = [[name, each["per_s"], each["cpu_ms_each"]] for name, each in section.items() if name != "taken"]
        text += f"\n{size}\n\n{_table(['', 'per s', 'CPU ms each'], rows)}"
    return text


def _search(recorded: Recorded, folder: Path) -> str:
    text = "## Search\n"
    for size in _sizes(recorded, "search"):
        section = recorded["search"][size]
        both = section["bare and through the gateway"]
        rows: list[list[Any]] = [
            [f"Millrace, one by one, {name}", *_percentiles(each), ""] for name, each in both.items()
        ]
        rows += [
            [f"Millrace, {name}", *_percentiles(each), each["per_s"]]
            for name, each in section.items()
            if _is_load(each)
        ]
        for part, kinds in recorded.items():
            if _is_peer(part, kinds, size):
                peer = kinds[size]
                rows += [
                    [f"{part.removeprefix(PEER)}, {name}", *_percentiles(each), each["per_s"]]
                    for name, each in peer.items()
                    if _is_load(each)
                ]
        ratio = _ratio(both["gateway"]["p50_ms"], both["bare"]["p50_ms"])
        recalls = ", ".join(f"{name} {each}" for name, each in section.items() if name.startswith("recall"))
        text += f"\nCorpus {size}. Through the gateway {ratio} of the bare query at p50; {recalls}.\n\n"
        text += _table(["ms", "p50", "p95", "p99", "per s"], rows)
        text += _bars(
            folder / f"search-{size}.png",
            {row[0]: row[1] for row in rows if "64" not in row[0]},
            f"search, p50 in ms, {size}",
        )
    return text


def _is_load(each: Any) -> bool:
    return isinstance(each, Mapping) and "per_s" in each and "p50_ms" in each


def _freshness(recorded: Recorded, folder: Path) -> str:
    text = "## Acknowledged → found\n"
    for size in _sizes(recorded, "freshness"):
        section = recorded["freshness"][size]
        loads = {name: each for name, each in section.items() if "found" in each}
        rows = [[name, *_percentiles(each["found"]), each["acknowledged"]["p50_ms"]] for name, each in loads.items()]
        text += f"\nBeside the corpus {size}.\n\n{_table(['ms', 'p50', 'p95', 'p99', 'acknowledged, p50'], rows)}"
        edit = section["edit"]
        text += (
            f"\nOne word of a document of {edit['chunks']} chunks: found after {edit['found_ms']} ms, "
            f"{edit['embedded']:.0f} chunks embedded.\n"
        )
        text += _bars(
            folder / f"freshness-{size}.png",
            {f"{name}, {p}": each["found"][f"{p}_ms"] for name, each in loads.items() for p in ("p50", "p99")},
            f"acknowledged to found in ms, {size}",
        )
    return text


def _costs(recorded: Recorded) -> str:
    text = "## Memory, bytes, and what the guarantees cost\n"
    for size in _sizes(recorded, DOORS["over HTTP"]):
        section = recorded[DOORS["over HTTP"]][size]
        memory = ", ".join(f"{name} {each:.0f}" for name, each in section["memory_mib_max"].items())
        stored, chunks = section["stored_bytes"], section["chunks"]
        text += (
            f"\nCorpus {size}: at most {memory} MiB; per chunk {stored['database'] / chunks:.0f} bytes in Postgres, "
            f"{sum(stored['topics'].values()) / chunks:.0f} on Kafka, {stored['blobs'] / chunks:.0f} of blobs; "
            f"CPU ms per chunk {section['cpu_ms_per_chunk']}.\n"
        )
        with_all = recorded.get(DOORS["over Kafka"], {}).get(size)
        for part, kinds in recorded.items():
            if part.startswith("ingest without") and size in kinds and with_all:
                faster = _ratio(kinds[size]["chunks_per_s_searchable"], with_all["chunks_per_s_searchable"])
                text += f"- {part.removeprefix('ingest ')}: {faster} of the pace with it\n"
    return text


def _taken(recorded: Recorded) -> str:
    taken = max((each["taken"] for kinds in recorded.values() for each in kinds.values()), key=lambda each: each["at"])
    machine = taken["machine"]
    return (
        f"## Taken on\n\n{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}; the newest section at {taken['at']}, "
        f"commit {taken['commit']}. "
        "Everything, the clients too, runs on these cores. `results.json` has each section's own.\n"
    )


def _percentiles(each: Section) -> list[float]:
    return [each["p50_ms"], each["p95_ms"], each["p99_ms"]]


def _ratio(value: float, other: float) -> str:
    return f"{value / other:.2f}x" if other else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _bars(path: Path, values: Mapping[str, float], title: str) -> str:
    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.35 * len(values)))
    bars = axes.barh(list(values), list(values.values()))
    axes.bar_label(bars, fmt="%g", padding=3)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return f"\n![{title}]({path.name})\n"
