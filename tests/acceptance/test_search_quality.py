"""Search is right: the table of questions over the sample corpus, `samples/questions.csv`."""

import asyncio
import csv
from pathlib import Path

from engine.parse import media_type_of
from millrace.client import Gateway
from samples.generate import corpus

QUESTIONS = list(csv.DictReader((Path(__file__).parents[2] / "samples" / "questions.csv").open(encoding="utf-8")))
FIRST_HITS = 3
RIGHT_SHARE_MIN = 0.9


async def _indexed(client: Gateway, path: Path) -> None:
    accepted = await client.add_file(path, media_type_of(path.name))
    states = [status["state"] async for status in client.follow(accepted["document_id"])]
    assert states[-1] == "indexed", path.name


async def _right(client: Gateway, mode: str) -> list[str]:
    """The questions whose document is among the first hits."""
    right = []
    for question in QUESTIONS:
        found = await client.search(question["question"], mode=mode, limit=FIRST_HITS, hits_per_document=1)
        if question["document"] in {hit["filename"] for hit in found["hits"]}:
            right.append(question["question"])
    return right


async def test_hybrid_finds_nine_of_ten_and_does_no_worse_than_either_ranking(client: Gateway) -> None:
    assert len(QUESTIONS) >= 30
    await asyncio.gather(*(_indexed(client, path) for path in corpus()))
    right = {mode: len(await _right(client, mode)) for mode in ("hybrid", "text", "vector")}
    assert right["hybrid"] >= RIGHT_SHARE_MIN * len(QUESTIONS), right
    assert right["hybrid"] >= max(right["text"], right["vector"]), right
