"""Lists of jobs by state and function, page by page, and what people do to the jobs."""

from __future__ import annotations

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from redis.asyncio import Redis

from arqube_queue import dead_letters, job_records, jobs, keys, turns
from arqube_queue.answers import now_ms
from arqube_queue.job_records import Cursor, JobFilter, JobState
from arqube_queue.jobs import CancelOutcome
from builders.jobs import QUEUE, bury, finish, lease, lines, read, take, worker

# -- lists --


@pytest_asyncio.fixture
async def many(redis: Redis, client: ArqRedis) -> list[str]:
    """Jobs of each state, in the order of a list."""
    us = worker(redis)
    for job_id, outcome in (("old", "succeeded"), ("cancelled", "aborted")):
        await client.enqueue_job("send", _job_id=job_id)
        await finish(redis, us, await lease(redis, us), outcome)
    await client.enqueue_job("send", _job_id="dead")
    await bury(redis, us, await lease(redis, us))
    await client.enqueue_job("bill", _job_id="running")
    await lease(redis, us)
    await client.enqueue_job("send", _job_id="waiting")
    await client.enqueue_job("bill", _job_id="later", _defer_by=60)
    now = await now_ms(redis)
    await redis.zadd(QUEUE, {"running": now - 2000, "waiting": now - 1000})
    await redis.zadd(keys.job_ends(QUEUE), {"old": now - 3000, "cancelled": now - 2000, "dead": now - 1000})
    return ["running", "waiting", "later", "dead", "cancelled", "old"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        pytest.param(JobFilter(), ["running", "waiting", "later", "dead", "cancelled", "old"], id="all"),
        pytest.param(JobFilter(frozenset({JobState.RUNNING})), ["running"], id="those that run"),
        pytest.param(JobFilter(job_records.ALIVE), ["running", "waiting", "later"], id="those that have not ended"),
        pytest.param(JobFilter(frozenset({JobState.FAILED})), ["dead"], id="those that failed"),
        pytest.param(
            JobFilter(frozenset({JobState.WAITING, JobState.CANCELLED})), ["waiting", "cancelled"], id="of two kinds"
        ),
        pytest.param(JobFilter(function="bill"), ["running", "later"], id="by function"),
        pytest.param(JobFilter(frozenset({JobState.FAILED}), "bill"), [], id="none"),
    ],
)
@pytest.mark.usefixtures("many")
async def test_what_is_listed(redis: Redis, chosen: JobFilter, found: list[str]) -> None:
    page = await job_records.list_jobs(redis, QUEUE, chosen)
    assert [job.job_id for job in page.jobs] == found
    assert page.cursor is None


@pytest.mark.parametrize("limit", [1, 2, 4, 6, 7])
async def test_pages_go_through_all_once(redis: Redis, many: list[str], limit: int) -> None:
    found: list[str] = []
    after: Cursor | None = None
    while True:
        page = await job_records.list_jobs(redis, QUEUE, after=after, limit=limit)
        assert len(page.jobs) <= limit
        found += [job.job_id for job in page.jobs]
        if page.cursor is None:
            break
        after = Cursor.parse(str(page.cursor))
        assert after == page.cursor
    assert found == many


async def test_pages_go_through_many_of_one_moment(redis: Redis, client: ArqRedis) -> None:
    us = worker(redis)
    names = [f"{number:03}" for number in range(230)]
    for name in names:
        await client.enqueue_job("send", _job_id=name)
    leased = (await take(redis, us, limit=230)).leases
    await take(redis, us, *(turns.finish(one, None, record=lines(one, "us", "succeeded")) for one in leased))
    for function in (None, "send"):
        found: list[str] = []
        after: Cursor | None = None
        while True:
            page = await job_records.list_jobs(redis, QUEUE, JobFilter(function=function), after=after, limit=70)
            found += [job.job_id for job in page.jobs]
            if (after := page.cursor) is None:
                break
        assert sorted(found) == names


async def test_a_list_looks_at_a_bounded_number(
    redis: Redis, client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "LOOK", 100)
    await redis.zadd(QUEUE, {f"{number}": number + 2 for number in range(300)})
    page = await job_records.list_jobs(redis, QUEUE, JobFilter(function="nothing"))
    assert page.jobs == ()
    assert page.cursor is not None


@pytest.mark.parametrize("text", ["", "alive", "alive:1", "alive:x:1", "other:1:1", "over:1:-1"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cursor|float"):
        Cursor.parse(text)


# -- cancelling --


async def test_cancelling_asks_as_arq_does(redis: Redis, many: list[str]) -> None:
    outcomes = {job_id: await jobs.cancel(redis, QUEUE, job_id) for job_id in (*many, "none")}
    assert outcomes == {
        "running": CancelOutcome.RUNNING,
        "waiting": CancelOutcome.WAITING,
        "later": CancelOutcome.WAITING,
        "dead": CancelOutcome.ENDED,
        "cancelled": CancelOutcome.ENDED,
        "old": CancelOutcome.ENDED,
        "none": CancelOutcome.MISSING,
    }
    assert set(await redis.zrange(keys.ABORT, 0, -1)) == {b"running", b"waiting", b"later"}
    later = await read(redis, "later")
    assert (later.state, later.cancelling, later.due_ms) == (JobState.WAITING, True, None)
    turn = await take(redis, worker(redis, "they"), limit=9)
    assert {one.job_id: one.aborted for one in turn.leases} == {"later": True, "waiting": True}


@pytest.mark.usefixtures("many")
async def test_only_a_dead_job_is_run_again(redis: Redis) -> None:
    outcomes = [await jobs.retry(redis, QUEUE, job_id) for job_id in ("dead", "dead", "old", "none")]
    assert outcomes == [dead_letters.Outcome.RETRIED, *[dead_letters.Outcome.MISSING] * 3]
