"""Time from a document's acknowledgement (202) to the first search that finds it, on an idle system.

Starts a Kafka, a Postgres, a worker and a gateway of its own in a temporary folder, unless MILLRACE_URL names a running
gateway. Each round posts one small document with a word that no other has, and searches for it until it is there:
`python -m benchmarks.latency [ROUNDS]`.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx

from millrace.local.home import Home
from millrace.local.ports import free_port

ROUNDS = 200
WARM_UP_ROUNDS = 10
TEXT = "The inspector wrote the word {word} on the door of the wheel house and went home before the rain came."


async def measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round, by what was timed."""
    timings: dict[str, list[float]] = {"acknowledged": [], "found": [], "found, waiting by position": []}
    async with httpx.AsyncClient(base_url=url, timeout=30, headers={"X-Millrace-Tenant": "bench-latency"}) as http:
        for round_number in range(-WARM_UP_ROUNDS, rounds):
            acknowledged_ms, found_ms = await _round(http, polling=True)
            _, waited_ms = await _round(http, polling=False)
            if round_number >= 0:
                timings["acknowledged"].append(acknowledged_ms)
                timings["found"].append(found_ms)
                timings["found, waiting by position"].append(waited_ms)
    return timings


async def _round(http: httpx.AsyncClient, *, polling: bool) -> tuple[float, float]:
    """Milliseconds to the acknowledgement, and from there to the search that found the document."""
    word = f"w{uuid.uuid4().hex}"
    posted = time.perf_counter()
    answer = await http.post("/v1/documents", json={"text": TEXT.format(word=word)})
    answer.raise_for_status()
    acknowledged = time.perf_counter()
    headers = {} if polling else {"X-Millrace-Position": answer.json()["position"]}
    while True:
        search = await http.post("/v1/search", json={"query": word, "limit": 1}, headers=headers)
        search.raise_for_status()
        hits = search.json()["hits"]
        if hits and word in hits[0]["text"]:
            break
        assert polling, "a read that carried the position did not see the write"
    return (acknowledged - posted) * 1e3, (time.perf_counter() - acknowledged) * 1e3


def report(timings: dict[str, list[float]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| ms | p50 | p95 | p99 | max |", "|---|---|---|---|---|"]
    for name, values in timings.items():
        cuts = statistics.quantiles(values, n=100)
        figures = (statistics.median(values), cuts[94], cuts[98], max(values))
        lines.append(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        url = os.environ.get("MILLRACE_URL") or _own_stack(stack)
        timings = asyncio.run(measure(url, rounds))
    print(f"{rounds} documents, one after the other, {os.cpu_count()} cores\n\n{report(timings)}")


def _own_stack(stack: ExitStack) -> str:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-", ignore_cleanup_errors=True))
    Path(folder, "kafka-libs").symlink_to(Home.default().kafka_libs.absolute())
    ports = {f"MILLRACE_{name}_PORT": str(free_port()) for name in ("KAFKA", "POSTGRES", "GATEWAY")}
    os.environ.update(ports, MILLRACE_HOME=folder)
    # Only now: the settings read the environment.
    from millrace.stack import running  # noqa: PLC0415

    return stack.enter_context(running(lambda line: print(f"  {line}", file=sys.stderr))).url


if __name__ == "__main__":
    main()
