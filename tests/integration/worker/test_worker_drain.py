"""Stopping a worker: nothing starts, what runs may finish, the rest goes back untouched, and the exit code is 0."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from arq.jobs import Job

pytestmark = pytest.mark.timeout(180)

PATIENT = {"ARQUBE_SHUTDOWN_TIMEOUT": "60"}
HASTY = {"ARQUBE_SHUTDOWN_TIMEOUT": "0.2"}

can_unshare = os.getuid() == 0 and shutil.which("unshare") is not None
as_process_1 = pytest.mark.skipif(not can_unshare, reason="a PID namespace needs root and unshare")


async def started(client: ArqRedis, least: int) -> bool:
    return bool(await client.llen("started") >= least)


async def enqueue(client: ArqRedis, function: str, *args: Any) -> Job:
    job = await client.enqueue_job(function, *args)
    assert job is not None
    return job


async def leftovers(client: ArqRedis) -> list[bytes]:
    """Keys that say a job runs."""
    keys: list[bytes] = await client.keys("arq:in-progress:*")
    return keys


@pytest.mark.parametrize(
    ("settings", "signum"),
    [
        pytest.param("WorkerSettings", signal.SIGTERM, id="SIGTERM although the settings say handle_signals=False"),
        pytest.param("AS_DICT", signal.SIGTERM, id="SIGTERM with arq's default of handle_signals=True"),
        pytest.param("AS_DICT", signal.SIGINT, id="SIGINT as from a terminal"),
    ],
)
async def test_jobs_in_flight_finish_and_nothing_starts(
    start_worker: Any, arq_client: ArqRedis, eventually: Any, settings: str, signum: signal.Signals
) -> None:
    worker = start_worker(settings, environment=PATIENT)
    running = await enqueue(arq_client, "hold_until", "go")
    await eventually(lambda: started(arq_client, 1))
    worker.signal(signum)
    await eventually(lambda: worker.get("/readyz") == (503, "draining\n"))
    late = await enqueue(arq_client, "nap", 0)
    assert worker.get("/healthz")[0] == 200
    assert worker.metric("arqube_worker_draining") == 1
    await arq_client.set("go", 1)
    assert await worker.exit_code() == 0, worker.text
    assert await running.result(timeout=0) == 1
    assert await arq_client.lrange("started", 0, -1) == [running.job_id.encode()]
    assert await arq_client.zrange(default_queue_name, 0, -1) == [late.job_id.encode()]
    assert await leftovers(arq_client) == []
    assert await arq_client.lrange("hooks", 0, -1) == [b"startup", b"shutdown"]


GIVEN_BACK = [
    pytest.param("hold_until", HASTY, 1, id="at the shutdown timeout"),
    pytest.param("hold_until", PATIENT, 2, id="at the second signal"),
    pytest.param("wrap_cancellation", HASTY, 1, id="though it turns the cancellation into another error"),
    pytest.param("ignore_cancellation", HASTY, 1, id="though it swallows the cancellation"),
]


@pytest.mark.parametrize(("function", "environment", "signals"), GIVEN_BACK)
async def test_a_job_that_cannot_finish_is_given_back(
    start_worker: Any,
    arq_client: ArqRedis,
    eventually: Any,
    function: str,
    environment: dict[str, str],
    signals: int,
) -> None:
    worker = start_worker(environment=environment)
    job = await enqueue(arq_client, function, "go")
    await eventually(lambda: started(arq_client, 1))
    worker.signal()
    if signals == 2:
        await eventually(lambda: worker.get("/readyz")[0] == 503)
        worker.signal()
    assert await worker.exit_code() == 0, worker.text
    assert await leftovers(arq_client) == []
    assert await arq_client.get("arq:retry:" + job.job_id) is None, "the try does not count"
    assert await arq_client.zscore(default_queue_name, job.job_id) is not None
    assert await arq_client.lrange("hooks", 0, -1) == [b"startup", b"shutdown"]
    assert [line["outcome"] for line in worker.logged("job ended")] == ["returned"]

    await arq_client.set("go", 1)
    start_worker()
    assert await job.result(timeout=20, poll_delay=0.02) == 1, "elsewhere it is the first try again"


async def test_the_tries_of_earlier_failures_still_count(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    worker = start_worker(environment=HASTY)
    job = await arq_client.enqueue_job("hold_until", "go", _job_try=3)
    assert job is not None
    await arq_client.set("arq:retry:" + job.job_id, 2)
    await eventually(lambda: started(arq_client, 1))
    worker.signal()
    assert await worker.exit_code() == 0
    assert await arq_client.get("arq:retry:" + job.job_id) == b"2"


async def test_a_job_that_must_not_run_again_fails_as_in_arq(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    """``retry_jobs=False`` asks for at most one run, even if a stop interrupts it."""
    worker = start_worker("Once", environment=HASTY)
    job = await enqueue(arq_client, "hold_until", "go")
    await eventually(lambda: started(arq_client, 1))
    worker.signal()
    assert await worker.exit_code() == 0
    with pytest.raises(asyncio.CancelledError):
        await job.result(timeout=0)
    assert await leftovers(arq_client) == []


@as_process_1
async def test_process_1_heeds_sigterm(start_worker: Any, arq_client: ArqRedis, eventually: Any) -> None:
    """As a container's first process, which the kernel spares from signals it has no handler for."""
    worker = start_worker(prefix=("unshare", "--pid", "--fork", "--kill-child"), environment=PATIENT)
    job = await enqueue(arq_client, "hold_until", "go")
    await eventually(lambda: started(arq_client, 1))
    children = f"/proc/{worker.process.pid}/task/{worker.process.pid}/children"
    with open(children) as file:  # noqa: ASYNC230, PTH123 - a line of procfs
        inner = int(file.read())
    with open(f"/proc/{inner}/status") as file:  # noqa: ASYNC230, PTH123
        assert next(line for line in file if line.startswith("NSpid")).split()[-1] == "1"
    os.kill(inner, signal.SIGTERM)
    await eventually(lambda: worker.get("/readyz")[0] == 503)
    await arq_client.set("go", 1)
    assert await worker.exit_code() == 0
    assert await job.result(timeout=0) == 1


async def test_a_signal_while_the_app_is_imported_ends_the_worker(start_worker: Any, eventually: Any) -> None:
    worker = start_worker(module="slow_import")
    await eventually(lambda: worker.get("/readyz") == (503, "starting\n"))
    assert worker.get("/healthz")[0] == 200
    worker.signal()
    assert await worker.exit_code(within_s=20) == 0


async def test_a_signal_during_start_up_ends_the_worker(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    worker = start_worker("SlowStart")
    await eventually(lambda: arq_client.exists("starting"))
    assert worker.get("/readyz") == (503, "on_startup is running\n")
    worker.signal()
    assert await worker.exit_code(within_s=20) == 0
    assert await arq_client.lrange("hooks", 0, -1) == [b"shutdown"]


async def test_a_signal_while_redis_is_away_ends_the_worker(start_worker: Any, eventually: Any) -> None:
    worker = start_worker(environment={"REDIS_QUEUE_PORT": "1"})
    await eventually(lambda: worker.get("/readyz") == (503, "not connected to Redis yet\n"))
    assert worker.get("/healthz")[0] == 200
    worker.signal()
    assert await worker.exit_code(within_s=20) == 0


async def test_a_job_that_left_a_thread_behind_does_not_hold_up_the_exit(
    start_worker: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    worker = start_worker(environment=HASTY)
    job = await enqueue(arq_client, "sleep_in_thread", 60)
    await eventually(lambda: started(arq_client, 1))
    worker.signal()
    assert await worker.exit_code(within_s=20) == 0
    assert await arq_client.zscore(default_queue_name, job.job_id) is not None
    assert await leftovers(arq_client) == []


@pytest.mark.timeout(180)
async def test_signals_at_random_moments_under_load_lose_and_strand_nothing(
    start_worker: Any, arq_client: ArqRedis, redis: Any, eventually: Any
) -> None:
    """Workers are stopped one after the other, each somewhere in its work; what they leave is whole."""
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    jobs = [await enqueue(arq_client, "nap", chance.uniform(0, 0.2)) for _ in range(800)]
    workers = []
    for _ in range(20):
        worker = start_worker(environment={"ARQUBE_SHUTDOWN_TIMEOUT": str(chance.choice([0, 0.02, 0.1, 30]))})
        workers.append(worker)
        goal = await arq_client.llen("ended") + chance.randrange(2, 30)
        await eventually(lambda goal=goal: _length(arq_client, "ended", goal))
        worker.signal()
        assert await worker.exit_code() == 0, worker.text
        assert await leftovers(arq_client) == []
    workers.append(start_worker())
    assert [await job.result(timeout=60, poll_delay=0.02) for job in jobs] == [1] * len(jobs), "no try was used up"
    ended = [line for worker in workers for line in worker.logged("job ended") if line["outcome"] == "succeeded"]
    assert sorted(line["job_id"] for line in ended) == sorted(job.job_id for job in jobs), "each ran to its end once"
    hooks = await redis.lrange("hooks", 0, -1)
    assert hooks.count(b"shutdown") == 20
    assert await redis.zcard(default_queue_name) == 0
    assert await redis.keys("arq:retry:*") == []


async def _length(client: ArqRedis, key: str, least: int) -> bool:
    return bool(await client.llen(key) >= least)
