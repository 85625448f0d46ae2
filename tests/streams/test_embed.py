"""What did not change is not embedded again."""

import os

import httpx
from prometheus_client.parser import text_string_to_metric_families

from millrace.client import Gateway

SECTIONS = 6


def document(*changed: int) -> str:
    """Sections that are a chunk each: none fits in beside another."""
    return "\n".join(
        f"# Section {number}\n\n"
        + " ".join(f"Word{number}x{index}{'new' if number in changed else ''}." for index in range(60))
        for number in range(SECTIONS)
    )


async def counted() -> tuple[float, float]:
    """Contents embedded and chunks whose vector was known, by the worker's own count."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{os.environ['MILLRACE_WORKER_PORT']}/metrics")).text
    samples = {each.name: each.value for family in text_string_to_metric_families(text) for each in family.samples}
    return samples["millrace_chunks_embedded_total"], samples["millrace_chunks_reused_total"]


async def add(client: Gateway, text: str, document_id: str = "d") -> int:
    """Add a text and return its number of chunks."""
    await client.add_text(text, document_id=document_id, media_type="text/markdown")
    states = [status async for status in client.follow(document_id)]
    assert states[-1]["state"] == "indexed"
    return int(states[-1]["chunks_total"])


async def test_unchanged_chunks_keep_their_vectors(client: Gateway) -> None:
    start = await counted()
    total = await add(client, document())
    assert total > SECTIONS
    first = await counted()
    assert (first[0] - start[0], first[1] - start[1]) == (total, 0)

    assert await add(client, document(2)) == total
    second = await counted()
    changed = second[0] - first[0]
    assert 0 < changed <= total / SECTIONS + 1
    assert second[1] - first[1] == total - changed

    # Another document of the tenant with the same content needs no vector at all.
    await add(client, document(2), "copy")
    third = await counted()
    assert (third[0] - second[0], third[1] - second[1]) == (0, total)


async def test_another_tenants_vectors_are_not_taken(client: Gateway, gateway: object, tenant: str) -> None:
    total = await add(client, document(4))
    before = await counted()
    async with Gateway(os.environ["MILLRACE_URL"], f"{tenant}-2") as other:
        assert await add(other, document(4)) == total
    after = await counted()
    assert (after[0] - before[0], after[1] - before[1]) == (total, 0)
