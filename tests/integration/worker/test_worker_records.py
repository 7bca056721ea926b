"""What is recorded of jobs by whole workers: kills, stops, and every way in which a job may end."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job
from arq.worker import Retry
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import job_records, keys
from arqube_queue.job_records import JobRecord, JobState
from arqube_worker import settings
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker

pytestmark = pytest.mark.timeout(180)

QUEUE = keys.DEFAULT_QUEUE
WITHIN_S = 40.0
SECRET = "a-secret-argument"  # noqa: S105 - of no account
RESULT = "a-secret-result"


async def record(client: Redis, job_id: str = "job") -> JobRecord:
    found = await job_records.read_job(client, QUEUE, job_id)
    assert found is not None
    return found


def outcomes(job: JobRecord) -> list[str | None]:
    return [one.outcome for one in job.tries]


async def test_the_try_of_a_killed_worker_is_told_as_lost(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    lease = {"ARQUBE_LEASE": "1"}
    await arq_client.enqueue_job("hold_until", "go", _job_id="job")
    killed = start_worker(environment=lease)
    await eventually(lambda: arq_client.exists("started"), within_s=WITHIN_S)
    running = await record(arq_client)
    assert (running.state, outcomes(running)) == (JobState.RUNNING, [None])
    killed.signal(signal.SIGKILL)
    await killed.exit_code()

    async def lost() -> bool:
        return (await record(arq_client)).state is JobState.WAITING

    await eventually(lost, within_s=WITHIN_S)
    waiting = await record(arq_client)
    assert outcomes(waiting) == ["lost"]
    assert waiting.tries[0].started_ms == running.tries[0].started_ms
    start_worker(environment=lease)
    await arq_client.set("go", 1)

    async def done() -> bool:
        return (await record(arq_client)).state is JobState.SUCCEEDED

    await eventually(done, within_s=WITHIN_S)
    found = await record(arq_client)
    assert [(one.number, one.outcome) for one in found.tries] == [(1, "lost"), (2, "succeeded")]


async def test_a_try_that_a_stop_cuts_is_told_as_returned(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    await arq_client.enqueue_job("hold_until", "go", _job_id="job")
    stopped = start_worker(environment={"ARQUBE_SHUTDOWN_TIMEOUT": "0"})
    await eventually(lambda: arq_client.exists("started"), within_s=WITHIN_S)
    stopped.signal()
    assert await stopped.exit_code(within_s=WITHIN_S) == 0
    waiting = await record(arq_client)
    assert (waiting.state, waiting.tried, outcomes(waiting)) == (JobState.WAITING, 0, ["returned"])
    await arq_client.set("go", 1)
    start_worker()

    async def done() -> bool:
        return (await record(arq_client)).state is JobState.SUCCEEDED

    await eventually(done, within_s=WITHIN_S)
    found = await record(arq_client)
    assert [(one.number, one.outcome) for one in found.tries] == [(1, "returned"), (1, "succeeded")]


async def test_every_end_is_recorded_without_arguments_or_results(
    redis: Redis, redis_server: RedisServer, arq_client: ArqRedis, eventually: Any
) -> None:
    async def work(ctx: dict[str, Any], wish: str, secret: str) -> str:
        if wish == "again" and ctx["job_try"] == 1:
            raise Retry(defer=0.01) from OSError("a good reason")
        if wish == "fail":
            raise ValueError("in the app's own words")
        if wish == "hang":
            await asyncio.sleep(600)
        return RESULT

    work.__qualname__ = "work"
    values = {"functions": [work], "allow_abort_jobs": True, "poll_delay": 0.05, "job_timeout": 300}
    address = redis_server.address
    environ = {
        "ARQUBE_REDIS_HOST": address.host,
        "ARQUBE_REDIS_PORT": str(address.port),
        "ARQUBE_UNKNOWN_FUNCTION_GRACE": "0",
    }
    wishes = ("succeed", "again", "fail", "hang", "cancelled", "expired", "exhausted")
    for wish in wishes:
        await arq_client.enqueue_job("work", wish, SECRET, _job_id=wish)
    await arq_client.enqueue_job("nobody", "unknown", SECRET, _job_id="unknown")
    await redis.set(keys.JOB_PREFIX + "undecodable", b"no pickle")
    await redis.zadd(QUEUE, {"undecodable": 2})
    await redis.delete(keys.JOB_PREFIX + "expired")
    await redis.set(keys.RETRY_PREFIX + "exhausted", 5)
    await redis.zadd(keys.ABORT, {"cancelled": 1})
    configuration = settings.configure(settings.LoadedSettings("test", values), environ)
    worker = Worker(configuration, name="here", metrics=Metrics(CollectorRegistry()))
    serving = asyncio.create_task(worker.serve())

    async def told(count: int) -> bool:
        return int(await redis.zcard(keys.job_ends(QUEUE))) == count

    try:
        await eventually(lambda: told(len(wishes) + 1), within_s=WITHIN_S)
        await Job("hang", arq_client).abort(timeout=WITHIN_S, poll_delay=0.02)
        await eventually(lambda: told(len(wishes) + 2), within_s=WITHIN_S)
    finally:
        worker.drain.request()
        worker.drain.request()
        await asyncio.wait_for(serving, WITHIN_S)
    found = {job.job_id: job for job in (await job_records.list_jobs(redis, QUEUE)).jobs}
    assert {job_id: (job.state.value, job.outcome, outcomes(job)) for job_id, job in found.items()} == {
        "succeed": ("succeeded", "succeeded", ["succeeded"]),
        "again": ("succeeded", "succeeded", ["retried", "succeeded"]),
        "fail": ("failed", "failed", ["failed"]),
        "hang": ("cancelled", "aborted", ["aborted"]),
        "cancelled": ("cancelled", "aborted", []),
        "expired": ("failed", "expired", []),
        "exhausted": ("failed", "tries_exhausted", []),
        "unknown": ("failed", "unknown_function", []),
        "undecodable": ("failed", "undecodable", []),
    }
    assert found["again"].tries[0].error == "OSError: a good reason"
    assert found["fail"].error == "ValueError: in the app's own words"
    assert found["exhausted"].error == "JobExecutionFailed: max 5 retries exceeded"
    names = {"undecodable": None, "expired": None, "unknown": "nobody"}
    functions = {job_id: names.get(job_id, "work") for job_id in found}
    assert {job_id: job.function for job_id, job in found.items()} == functions
    raw: Any = await redis.hgetall(keys.job_records(QUEUE))  # type: ignore[misc]
    assert await redis.exists(keys.open_jobs(QUEUE)) == 0
    assert len(raw) == len(found)
    for text in (SECRET, RESULT):
        assert [job_id for job_id, value in raw.items() if text.encode() in value] == []


async def test_a_plain_worker_may_end_what_ours_began(start_worker: Any, arq_client: ArqRedis, eventually: Any) -> None:
    await arq_client.enqueue_job("retry_once", 1.0, _job_id="job")
    ours = start_worker()

    async def tried() -> bool:
        return outcomes(await record(arq_client)) == ["retried"]

    await eventually(tried, within_s=WITHIN_S)
    ours.signal()
    await ours.exit_code(within_s=WITHIN_S)
    start_worker("Burst", plain=True)

    async def done() -> bool:
        return (await record(arq_client)).state is JobState.ENDED

    await eventually(done, within_s=WITHIN_S)
    assert outcomes(await record(arq_client)) == ["retried"]
