"""Many workers on one queue, plain arq's among them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from arq.jobs import Job

pytestmark = pytest.mark.timeout(240)


async def running(client: ArqRedis) -> int:
    return len(await client.keys("arq:in-progress:*"))


async def test_all_slots_of_a_queue_run_at_once(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    """Plain arq workers see only the first 100 members of a queue, and running jobs are members too."""
    workers = [start_worker(environment={"ARQUBE_CONCURRENCY": "50"}) for _ in range(4)]
    await ready(*workers)
    for _ in range(230):
        await arq_client.enqueue_job("hold_until", "go")

    async def all_started() -> bool:
        return bool(await arq_client.llen("started") == 200 and await running(arq_client) == 200)

    await eventually(all_started, within_s=20)
    assert [worker.metric("arqube_worker_busy_slots") for worker in workers] == [50, 50, 50, 50]
    await arq_client.set("go", 1)

    async def drained() -> bool:
        return not await arq_client.zcard(default_queue_name)

    await eventually(drained, within_s=20)
    assert await arq_client.llen("ended") == 230


async def test_plain_arq_workers_can_share_the_queue(
    start_worker: Any, ready: Any, arq_client: ArqRedis, redis: Any, eventually: Any
) -> None:
    """No job runs twice, none is left over, and both kinds get some."""
    plain = [start_worker("Brisk", plain=True) for _ in range(2)]
    # One slot each, or they would be done before the plain ones' next poll.
    ours = [start_worker("Brisk", environment={"ARQUBE_CONCURRENCY": "1"}) for _ in range(2)]
    await ready(*ours)
    for worker in plain:
        await eventually(lambda worker=worker: "redis_version" in worker.text)
    due = datetime.now(tz=UTC) + timedelta(seconds=2)  # all at once, or the faster kind would take each
    jobs = []
    for number in range(600):
        function, argument = ("note", f"job-{number}") if number % 6 else ("retry_once", 0.05)
        later = timedelta(seconds=0.3 if number % 7 == 0 else 0)
        jobs.append(await arq_client.enqueue_job(function, argument, _defer_until=due + later))
    expected = [f"job-{number}" if number % 6 else 2 for number in range(600)]
    assert [await job.result(timeout=60, poll_delay=0.02) for job in jobs if job] == expected
    runs = [run.decode().split(":") for run in await redis.lrange("notes", 0, -1)]
    assert Counter(text for text, _, _ in runs) == Counter(text for text in expected if isinstance(text, str))
    assert {attempt for _, attempt, _ in runs} == {"1"}
    assert any("●" in worker.text for worker in plain), "arq's mark of a job that is done"
    assert any(worker.logged("job ended") for worker in ours)
    assert await redis.zcard(default_queue_name) == 0
    assert await redis.keys("arq:in-progress:*") == []
    assert await redis.keys("arq:retry:*") == []
    assert await redis.keys("arq:job:*") == []


async def test_a_mixed_fleet_ends_each_try_of_each_job_once(
    start_worker: Any, ready: Any, arq_client: ArqRedis, redis: Any, eventually: Any, tmp_path: Path
) -> None:
    plain = [start_worker("Mixed", plain=True) for _ in range(2)]
    # Few slots each, or the plain ones would come to nothing.
    ours = [start_worker("Mixed", environment={"ARQUBE_CONCURRENCY": "5"}) for _ in range(2)]
    await ready(*ours)
    for worker in plain:
        await eventually(lambda worker=worker: "redis_version" in worker.text)
    ends = tmp_path / "ends"
    ends.touch()
    chance = random.Random(11)  # noqa: S311 - moments, not secrets
    expected: dict[str, int] = {}  # tries that come to an end
    failing, doomed = set(), []
    for number in range(2000):
        defer_by = timedelta(seconds=chance.uniform(0, 2)) if number % 5 == 0 else None
        if number % 50 == 0:
            job = await arq_client.enqueue_job("hold_until", "never", _defer_by=defer_by)
            assert job is not None
            doomed.append(job)
            continue
        tries = chance.choice([2, 3]) if number % 4 == 0 else 1
        message = "as asked" if number % 6 == 0 else ""
        arguments = (str(ends), chance.uniform(0, 0.03), tries, message)
        job = await arq_client.enqueue_job("sign_off", *arguments, _defer_by=defer_by)
        assert job is not None
        expected[job.job_id] = tries
        if message:
            failing.add(job.job_id)
    assert all(await asyncio.gather(*(job.abort(timeout=60, poll_delay=0.5) for job in doomed)))

    async def drained() -> bool:
        return not await arq_client.zcard(default_queue_name)

    await eventually(drained, within_s=60)
    runs = Counter(ends.read_text().splitlines())
    assert runs == {f"{job_id}:{number}": 1 for job_id, tries in expected.items() for number in range(1, tries + 1)}
    results = {job_id: await Job(job_id, arq_client).result_info() for job_id in expected}
    assert {job_id for job_id, result in results.items() if result and not result.success} == failing
    assert {job_id: result.job_try for job_id, result in results.items() if result} == expected
    assert await redis.zrange("arq:abort", 0, -1) == []
    for pattern in ("arq:in-progress:*", "arq:retry:*", "arq:job:*"):
        assert await redis.keys(pattern) == []
    assert any("●" in worker.text for worker in plain)


async def test_unique_job_ids_run_once_until_their_result_is_gone(start_worker: Any, arq_client: ArqRedis) -> None:
    start_worker()
    first = await arq_client.enqueue_job("note", "once", _job_id="only")
    assert first is not None
    assert await arq_client.enqueue_job("note", "twice", _job_id="only") is None
    assert await first.result(timeout=20, poll_delay=0.02) == "once"
    assert await arq_client.enqueue_job("note", "thrice", _job_id="only") is None
