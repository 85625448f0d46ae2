"""Millrace with a defect: ``python -m tests.chaos.defective DEFECT worker parse``, and so on.

Each breaks one promise at the place that keeps it, by name and from outside: the product knows nothing of it.
"""

import asyncio
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from db import dead_letters, documents, positions, queries
from db import search as ranking
from db.pool import Connection, DatabaseSettings, Pool
from gateway import search as searching
from gateway.state import State
from millrace.cli import main
from schemas.events import DocumentChunked, Failure
from schemas.position import position_of
from schemas.topics import SUBMITTED, Topic
from streams.index import IndexStage
from streams.record import Record
from streams.stage import Stage


def forgetful_gateway() -> None:
    """Every third submission is acknowledged, with a position, and written nowhere."""
    publish, numbers = State.publish, itertools.count()

    async def forget(self: State, topic: Topic, *arguments: Any) -> tuple[int, int]:
        if topic is SUBMITTED and next(numbers) % 3 == 2:
            return 0, position_of(self.epoch, 1_000_000)
        return await publish(self, topic, *arguments)

    State.publish = forget  # type: ignore[assignment, method-assign]


def acknowledging_first() -> None:
    """Records are acknowledged before they are handled, which takes a moment: a process that is killed loses them."""
    run = Stage.run
    handled: set[asyncio.Task[Any]] = set()

    async def later(self: Stage, records: Sequence[Record], attempt: int) -> None:
        await asyncio.sleep(2)
        await run(self, records, attempt)

    async def acknowledge(self: Stage, records: Sequence[Record], attempt: int = 1) -> Mapping[Record, float]:
        handled.add(asyncio.create_task(later(self, records, attempt)))
        return {}

    Stage.run = acknowledge  # type: ignore[method-assign]


def late_writes() -> None:
    """Every event is applied once more, seconds later, as by a worker that fell asleep. By itself this does no harm."""
    handle = IndexStage.handle
    late: set[asyncio.Task[Any]] = set()

    async def again(self: IndexStage, records: Sequence[Record]) -> None:
        await asyncio.sleep(4)
        await handle(self, records)

    async def twice(self: IndexStage, records: Sequence[Record]) -> None:
        await handle(self, records)
        late.add(asyncio.create_task(again(self, records)))

    IndexStage.handle = twice  # type: ignore[method-assign]


def no_fencing() -> None:
    """Late writes, and nobody asks whether an event was applied before, or whether its revision is an old one."""
    late_writes()
    apply = documents.apply

    async def always(connection: Connection, positions: Mapping[documents.DocumentKey, int]) -> Any:
        for key in sorted(positions):
            await connection.execute("UPDATE documents SET applied = 0 WHERE (tenant_id, document_id) = ($1, $2)", *key)
        return await apply(connection, positions)

    documents.apply = always
    _redefine("is_wanted", "of_tenant text, of_document text, of_revision bigint", "boolean", "RETURN true;")


def letters_of_the_living() -> None:
    """A revision that becomes visible gets a letter as well."""
    publish = documents.publish

    async def publish_and_bury(connection: Connection, last: Sequence[DocumentChunked]) -> Any:
        published = await publish(connection, last)
        failure = Failure(type="broken", message="It is not.", stage="index")
        for batch in last:
            place = batch.document_id, batch.revision
            letter = dead_letters.Letter(
                batch.tenant_id,
                SUBMITTED.name,
                0,
                batch.revision,
                batch.key(),
                b"",
                (),
                datetime.now(UTC),
                failure,
                *place,
            )
            await dead_letters.add(connection, letter)
        return published

    documents.publish = publish_and_bury


def rows_left_behind() -> None:
    """What a newer revision or a deletion replaces stays in the tables."""

    _redefine("delete_chunks", "of_tenant text, of_document text, lowest bigint, highest bigint", "void", "")


def impatient_reads() -> None:
    """Whoever asks to see a write is answered at once; writes take a moment."""
    handle = IndexStage.handle

    async def slowly(self: IndexStage, records: Sequence[Record]) -> None:
        await asyncio.sleep(1)
        await handle(self, records)

    async def at_once(*_: Any) -> None:
        return

    IndexStage.handle = slowly  # type: ignore[method-assign]
    positions.wait_until_settled = at_once  # type: ignore[assignment]


def curious_search() -> None:
    """Searches look at another tenant's documents."""
    search = searching.search  # type: ignore[attr-defined]

    async def elsewhere(pool: Pool, tenant_id: str, *arguments: Any, **options: Any) -> Any:
        other = await pool.fetchval("SELECT min(tenant_id) FROM documents WHERE tenant_id <> $1", tenant_id)
        return await search(pool, other or tenant_id, *arguments, **options)

    searching.search = elsewhere  # type: ignore[attr-defined]


def search_over_all_revisions() -> None:
    """Rows of older revisions stay, and searches find them."""
    rows_left_behind()
    every = (
        "(SELECT c.*, d.media_type, d.filename, d.title, d.collection, d.tags, d.metadata FROM documents d "
        "JOIN document_chunks c USING (tenant_id, document_id) WHERE NOT d.deleted) every"
    )
    matches = (
        "(SELECT document_id, ordinal, 1 AS score, 1 AS density FROM document_chunks "
        "WHERE tenant_id = :tenant_id AND text_vector @@ plainto_tsquery('english', :text)) matches"
    )
    read = Path.read_text

    def read_text(self: Path, *arguments: Any, **options: Any) -> str:
        text = read(self, *arguments, **options)
        if self.name != "search.sql":
            return text
        text = re.sub(r"\bvisible_chunks( c)?\b", lambda use: every.removesuffix("every") + (use[1] or "every"), text)
        return re.sub(r"\bmatching\([^)]*\)", matches, text)

    Path.read_text = read_text  # type: ignore[method-assign]
    queries.load.cache_clear()
    ranking._queries = queries.load("search")


def _redefine(name: str, arguments: str, result: str, body: str) -> None:
    """Put another body into one of the database's functions; each of several processes does the same, in turn."""
    with psycopg.connect(DatabaseSettings().url.get_secret_value()) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('defective'))")
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS "
            f"$$ BEGIN {body} END $$"
        )


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
    main()
