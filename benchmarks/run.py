"""The parts of the benchmark, each of which can be run alone; what one has measured stays when another fails."""

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpora, ingest
from benchmarks.results import Results, say
from benchmarks.system import millrace

DATA = Path(".millrace/bench")
RESULTS = Path("benchmarks/results")


@dataclass(frozen=True, slots=True)
class Run:
    """Where everything is."""

    data: Path
    results: Results
    size: str

    @property
    def corpus(self) -> Path:
        """The corpus' folder, made when it is first asked for."""
        folder = self.data / "corpora" / self.size
        if not (folder / "about.json").exists():
            say(f"writing the corpus {self.size}")
            corpora.write(folder, corpora.SIZES[self.size])
        return folder

    @property
    def home(self) -> Path:
        """Where the Millrace is that has the corpus."""
        return self.data / "homes" / self.size


def write_corpus(run: Run) -> None:
    """Write it."""
    say(f"{run.corpus} is there")


def measure_ingest(run: Run) -> None:
    """Through both doors; what came over HTTP stays for the other parts."""
    for door, name, home in (
        (ingest.over_kafka, "kafka", run.data / "homes" / "scratch"),
        (ingest.over_http, "http", run.home),
    ):
        say(f"ingest of {run.size} over {name}")
        with millrace(home, anew=True) as system:
            figures = asyncio.run(ingest.ingest(system, run.corpus, door)).figures()
            figures["stored_bytes"] = asyncio.run(ingest.stored(system))
        run.results.record(f"ingest-{name}", run.size, figures)
        say(f"{figures['chunks_per_s_searchable']} chunks/s to searchable, {figures['cpu_ms_per_chunk']} CPU ms/chunk")


PARTS: dict[str, Callable[[Run], None]] = {"corpora": write_corpus, "ingest": measure_ingest}


def main() -> None:
    """Run the parts that are named, in their order."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"Any of {', '.join(PARTS)}; all if none.")
    parser.add_argument("--corpus", choices=corpora.SIZES, default="10k")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    run = Run(arguments.data, Results(arguments.results), arguments.corpus)
    for part in arguments.parts or PARTS:
        PARTS[part](run)


if __name__ == "__main__":
    main()
