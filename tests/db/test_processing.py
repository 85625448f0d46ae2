"""Reports may come in any order, and again: the furthest one of the newest revision stays, a final one for good."""

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import documents, processing
from db.pool import Pool
from schemas.events import Failure, State, reaches
from tests.db.rows import status

reports = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(State), st.integers(0, 5)), min_size=1, max_size=12)


@given(reports)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_furthest_report_of_the_newest_revision_stays(
    pool: Pool, given_reports: list[tuple[int, State, int]]
) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    reached: dict[int, tuple[State, int]] = {}
    for revision, state, done in given_reports:
        before = reached.get(revision)
        further = before is None or reaches(before[0], state) or (state is before[0] and before[1] < done)
        [moved] = await processing.report(pool, [status(tenant, "d", revision, state, chunks_done=done)])
        assert moved == further
        if further:
            reached[revision] = state, max(done, before[1] if before else 0)
    row = await documents.get(pool, tenant, "d")
    assert row is not None
    newest = max(reached)
    assert (row["newest_revision"], State(row["state"]), row["chunks_done"]) == (newest, *reached[newest])


async def test_what_is_known_stays_known(pool: Pool, tenant: str) -> None:
    first = status(tenant, "d", 1, State.PARSING, filename="a.txt", title="A", media_type="text/plain", chunks_total=9)
    failure = Failure(type="parser-crashed", message="It died.", stage="parse", attempt=2)
    failed = status(tenant, "d", 1, State.FAILED, attempt=2, error=failure)
    for each in (first, failed):
        assert await processing.report(pool, [each]) == [True]
    async with pool.acquire() as connection:
        stored = await processing.get(connection, failed)
    assert await processing.wanted(pool, [(tenant, "d", 1), (tenant, "d", 2)]) == {(tenant, "d", 2)}
    assert stored is not None
    assert stored.model_dump(exclude={"at"}) == {
        **failed.model_dump(exclude={"at"}),
        "filename": "a.txt",
        "title": "A",
        "media_type": "text/plain",
        "chunks_total": 9,
    }


@pytest.mark.parametrize("state", State)
async def test_nothing_more_comes_of_a_revision_in_a_final_state(pool: Pool, tenant: str, state: State) -> None:
    await processing.report(pool, [status(tenant, "d", 1, state)])
    assert bool(await processing.wanted(pool, [(tenant, "d", 1)])) is not state.final


async def test_older_revisions_are_forgotten_and_newer_ones_are_not(pool: Pool, tenant: str) -> None:
    reports = [status(tenant, "d", revision, State.INDEXED) for revision in (3, 1, 2)]
    assert await processing.report(pool, reports) == [True] * 3
    async with pool.acquire() as connection:
        await documents.replace_older(connection, tenant, "d", 2)
        known = [await processing.get(connection, status(tenant, "d", each, State.INDEXED)) for each in (1, 2, 3)]
    assert [each is not None for each in known] == [False, True, True]
