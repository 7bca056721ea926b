"""What producers see: jobs run by arqube-worker end as they do under plain arq, in every shape of settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from arq.jobs import Job, JobStatus
from arq.worker import JobExecutionFailed

pytestmark = pytest.mark.timeout(180)

BOTH = pytest.mark.parametrize(
    "plain", [pytest.param(False, id="under arqube-worker"), pytest.param(True, id="under plain arq")]
)


async def result(job: Job | None) -> Any:
    """The job's result, or the exception it failed with."""
    assert job is not None
    try:
        return await job.result(timeout=20, poll_delay=0.02)
    except (Exception, asyncio.CancelledError) as error:
        return error


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        pytest.param("WorkerSettings", 10, id="the template's class with handle_signals=False"),
        pytest.param("Inherited", 5, id="a class whose functions stand in its base"),
        pytest.param("AS_DICT", 10, id="a dict"),
        pytest.param("MADE_CLASS", 7, id="a class that a factory made"),
        pytest.param("MADE_OBJECT", 10, id="an object that a factory made"),
        pytest.param("make_settings", 10, id="the factory itself"),
    ],
)
async def test_settings_of_every_shape_run(
    start_worker: Any, ready: Any, arq_client: ArqRedis, settings: str, slots: int
) -> None:
    worker = start_worker(settings)
    await ready(worker)
    assert await result(await arq_client.enqueue_job("note", "hello")) == "hello"
    assert worker.metric("arqube_worker_slots") == slots
    assert worker.metric('arqube_worker_jobs_total{function="note",outcome="succeeded"}') == 1
    worker.signal()
    assert await worker.exit_code() == 0
    assert await arq_client.lrange("hooks", 0, -1) == [b"startup", b"shutdown"]


async def test_cron_jobs_alone_run(start_worker: Any, arq_client: ArqRedis, eventually: Any) -> None:
    workers = [start_worker("CronOnly"), start_worker("CronOnly")]
    await eventually(lambda: _length(arq_client, "ticks", 3))
    ticks = await arq_client.lrange("ticks", 0, -1)
    assert len(ticks) == len(set(ticks)), "two workers, each run once"
    assert all(worker.process.poll() is None for worker in workers)


async def _length(client: ArqRedis, key: str, least: int) -> bool:
    return bool(await client.llen(key) >= least)


@BOTH
async def test_jobs_end_as_under_arq(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, redis: Any, plain: bool
) -> None:
    await redis.psetex("arq:job:garbage", 60_000, b"\x80\x04no pickle")
    await redis.zadd(default_queue_name, {"garbage": 1_700_000_000_000, "vanished": 1_700_000_000_000})
    worker = start_worker(plain=plain)
    enqueue = arq_client.enqueue_job
    jobs = {
        "returns": await enqueue("talk", "what it was told"),
        "fails": await enqueue("fail", "no luck"),
        "asks for another try": await enqueue("retry_once", 0.3),
        "asks for too many": await enqueue("retry_always"),
        "takes too long": await enqueue("hasty", 30),
        "starts at a later try": await enqueue("nap", 0, _job_try=3),
        "comes later": await enqueue("nap", 0, _defer_by=0.4),
        "is not known": await enqueue("nobody_knows"),
        "cannot be decoded": Job("garbage", arq_client),
        "has lost its payload": Job("vanished", arq_client),
    }
    results = {name: await result(job) for name, job in jobs.items()}
    assert {name: found if isinstance(found, str | int) else repr(found) for name, found in results.items()} == {
        "returns": "what it was told",
        "fails": "ValueError('no luck')",
        "asks for another try": 2,
        "asks for too many": repr(JobExecutionFailed("max 3 retries exceeded")),
        "takes too long": "TimeoutError()",
        "starts at a later try": 3,
        "comes later": 1,
        "is not known": repr(JobExecutionFailed("function 'nobody_knows' not found")),
        "cannot be decoded": "DeserializationError('unable to deserialize job')",
        "has lost its payload": repr(JobExecutionFailed("job expired")),
    }
    info = await jobs["returns"].result_info()
    assert info is not None
    assert (info.function, info.args, info.job_try, info.success, info.queue_name, info.job_id) == (
        "talk",
        ("what it was told",),
        1,
        True,
        default_queue_name,
        jobs["returns"].job_id,
    )
    assert await jobs["returns"].status() is JobStatus.complete
    assert await redis.zcard(default_queue_name) == 0
    assert await redis.keys("arq:in-progress:*") == []
    assert await redis.keys("arq:retry:*") == []
    if not plain:
        assert counted(worker) == {
            ("talk", "succeeded"): 1,
            ("fail", "failed"): 1,
            ("retry_once", "retried"): 1,
            ("retry_once", "succeeded"): 1,
            ("retry_always", "retried"): 3,
            ("retry_always", "tries_exhausted"): 1,
            ("hasty", "failed"): 1,
            ("nap", "succeeded"): 2,
            ("unknown", "unknown_function"): 1,
            ("unknown", "undecodable"): 1,
            ("unknown", "expired"): 1,
        }


def counted(worker: Any) -> dict[tuple[str, str], int]:
    """The jobs_total series that are not 0."""
    found = {}
    for line in worker.get("/metrics")[1].splitlines():
        if line.startswith("arqube_worker_jobs_total{") and not line.endswith(" 0.0"):
            labels, value = line.split("{")[1].split("} ")
            function, outcome = (label.split("=")[1].strip('"') for label in labels.split(","))
            found[function, outcome] = int(float(value))
    return found


@BOTH
async def test_results_are_kept_as_long_as_the_settings_say(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, redis: Any, plain: bool
) -> None:
    start_worker(plain=plain)
    kept = await arq_client.enqueue_job("note", "kept")
    forgotten = await arq_client.enqueue_job("forgetful", "forgotten")
    assert kept is not None
    assert forgotten is not None
    assert await result(kept) == "kept"
    assert 3500 < await redis.ttl("arq:result:" + kept.job_id) <= 3600

    async def gone() -> bool:
        return await forgotten.status() is JobStatus.not_found

    await eventually(gone)


async def test_results_kept_for_ever_are_kept_for_failures_too(
    start_worker: Any, arq_client: ArqRedis, redis: Any
) -> None:
    """Plain arq writes a life of 0 ms for the second, and dies of Redis's refusal."""
    worker = start_worker("Forever")
    for function in ("note", "nobody_knows"):
        job = await arq_client.enqueue_job(function, "x")
        assert job is not None
        await result(job)
        assert await redis.ttl("arq:result:" + job.job_id) == -1
    assert worker.process.poll() is None


@BOTH
async def test_jobs_can_be_aborted(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, redis: Any, plain: bool
) -> None:
    worker = start_worker("Abortable", plain=plain)
    running = await arq_client.enqueue_job("hold_until", "never")
    deferred = await arq_client.enqueue_job("note", "never", _defer_by=60)
    assert running is not None
    assert deferred is not None
    await eventually(lambda: _length(arq_client, "started", 1))
    assert await running.abort(timeout=10, poll_delay=0.02)
    assert await deferred.abort(timeout=10, poll_delay=0.02)
    assert await redis.zcard(default_queue_name) == 0
    assert await redis.exists("notes", "ended") == 0
    if not plain:
        outcomes = counted(worker)
        outcomes.pop(("note", "put_back"), None)  # taken between the two steps of arq's abort
        assert outcomes == {("hold_until", "aborted"): 1, ("note", "aborted"): 1}


@BOTH
async def test_a_job_that_expired_before_a_worker_came_does_not_run(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, redis: Any, plain: bool
) -> None:
    job = await arq_client.enqueue_job("note", "late", _expires=0.01)
    assert job is not None

    async def payload_gone() -> bool:
        return not await redis.exists("arq:job:" + job.job_id)

    await eventually(payload_gone)
    start_worker(plain=plain)
    assert await result(job) == JobExecutionFailed("job expired")
    assert await redis.exists("notes") == 0


@BOTH
async def test_hooks_are_called_around_each_try(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, plain: bool
) -> None:
    worker = start_worker("Hooked", plain=plain)
    assert await result(await arq_client.enqueue_job("retry_once", 0)) == 2
    await eventually(lambda: _length(arq_client, "hooks", 7))
    worker.signal()
    await worker.exit_code()
    hooks = [hook.decode() for hook in await arq_client.lrange("hooks", 0, -1)]
    assert hooks == ["startup", "start:1", "end", "after", "start:2", "end", "after", "shutdown"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            "BrokenStartHook",
            JobExecutionFailed("max 5 retries exceeded"),
            id="a failing on_job_start uses up the tries",
        ),
        pytest.param("BrokenEndHook", "fine", id="a failing on_job_end and after_job_end lose no result"),
    ],
)
async def test_a_broken_hook_neither_kills_the_worker_nor_strands_the_job(
    start_worker: Any, arq_client: ArqRedis, redis: Any, settings: str, expected: Any
) -> None:
    worker = start_worker(settings)
    assert await result(await arq_client.enqueue_job("note", "fine")) == expected
    assert await redis.keys("arq:in-progress:*") == []
    assert worker.process.poll() is None


@BOTH
async def test_burst_mode_ends_when_the_queue_is_empty(start_worker: Any, arq_client: ArqRedis, plain: bool) -> None:
    for number in range(25):
        await arq_client.enqueue_job("note", str(number))
    await arq_client.enqueue_job("nap", 0, _defer_by=0.5)
    worker = start_worker("Burst", plain=plain)
    assert await worker.exit_code() == 0
    assert await arq_client.llen("notes") == 25
    assert await arq_client.llen("ended") == 1
    assert await arq_client.lrange("hooks", 0, -1) == [b"startup", b"shutdown"]


async def test_a_freed_slot_is_filled_at_once(start_worker: Any, ready: Any, arq_client: ArqRedis) -> None:
    """100 jobs of 20 ms in 10 slots: plain arq's half-second poll needs 5 s for them."""
    worker = start_worker(environment={"ARQUBE_CONCURRENCY": "10"})
    await ready(worker)
    loop = asyncio.get_running_loop()
    jobs = [await arq_client.enqueue_job("nap", 0.02) for _ in range(100)]
    began = loop.time()
    for job in jobs:
        assert await result(job) == 1
    assert loop.time() - began < 2.5


async def test_the_environment_decides_where_the_settings_disagree(
    start_worker: Any, ready: Any, arq_client: ArqRedis, environ: dict[str, str], eventually: Any
) -> None:
    environment = {
        "REDIS_QUEUE_PORT": "1",  # the settings' own Redis is nowhere
        "ARQUBE_REDIS_HOST": environ["REDIS_QUEUE_HOST"],
        "ARQUBE_REDIS_PORT": environ["REDIS_QUEUE_PORT"],
        "ARQUBE_QUEUE_NAME": "mail",
        "ARQUBE_CONCURRENCY": "3",
        "ARQUBE_WORKER_NAME": "mail-worker-1",
    }
    worker = start_worker(environment=environment)
    await ready(worker)
    job = await arq_client.enqueue_job("note", "mail", _queue_name="mail")
    assert await result(job) == "mail"
    assert worker.metric("arqube_worker_slots") == 3
    heartbeats = "arqube:mail:heartbeats"
    await eventually(lambda: arq_client.hexists(heartbeats, "mail-worker-1"))
    worker.signal()
    assert await worker.exit_code() == 0
    assert await arq_client.exists(heartbeats) == 0, "a worker that left takes its heartbeat along"


async def test_the_health_key_of_arq_check_is_written(
    start_worker: Any, arq_client: ArqRedis, eventually: Callable[..., Any]
) -> None:
    worker = start_worker()
    await eventually(lambda: arq_client.exists("arq:queue:health-check"))
    worker.signal()
    assert await worker.exit_code() == 0
    assert not await arq_client.exists("arq:queue:health-check")
