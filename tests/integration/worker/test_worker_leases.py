"""Leases of running jobs: kept while their worker lives, whatever its jobs do, and soon free when it is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue.keys import IN_PROGRESS_PREFIX, RETRY_PREFIX
from builders.relay import Door
from builders.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(180)

LEASE_S = 2.0
SHORT = {"ARQUBE_LEASE": str(LEASE_S)}


async def started(client: ArqRedis, count: int) -> bool:
    return bool(await client.llen("started") >= count)


async def enqueue(client: ArqRedis, function: str, *args: Any) -> Any:
    job = await client.enqueue_job(function, *args)
    assert job is not None
    return job


async def test_a_killed_workers_job_runs_elsewhere_within_the_lease_and_a_second(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    first = start_worker(environment=SHORT)
    await ready(first)
    job = await enqueue(arq_client, "hold_until", "go")
    await eventually(lambda: started(arq_client, 1))
    second = start_worker(environment=SHORT)
    await ready(second)
    first.signal(signal.SIGKILL)
    killed_at = time.monotonic()
    await eventually(lambda: started(arq_client, 2))
    assert time.monotonic() - killed_at <= LEASE_S + 1
    await arq_client.set("go", 1)
    assert await job.result(timeout=20, poll_delay=0.02) == 2, "the interrupted try counts"


async def test_a_job_that_blocks_the_loop_keeps_its_lease(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    first = start_worker(environment=SHORT)
    await ready(first)
    job = await enqueue(arq_client, "block", 2.5 * LEASE_S)
    await eventually(lambda: started(arq_client, 1))
    second = start_worker(environment=SHORT)
    await ready(second)
    assert await job.result(timeout=20, poll_delay=0.02) is None
    assert await arq_client.llen("started") == 1
    assert second.logged("job started") == []


async def test_a_worker_that_stood_still_does_not_finish_over_the_new_owner(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any, redis: Redis
) -> None:
    first = start_worker(environment=SHORT)
    await ready(first)
    job = await enqueue(arq_client, "hold_until", "go")
    await eventually(lambda: started(arq_client, 1))
    second = start_worker(environment=SHORT)
    await ready(second)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        await eventually(lambda: started(arq_client, 2))
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    await eventually(lambda: first.logged("job ended"))
    assert [line["outcome"] for line in first.logged("job ended")] == ["lease_lost"]
    assert first.metric('arqube_worker_jobs_total{function="hold_until",outcome="lease_lost"}') == 1
    assert await redis.exists(IN_PROGRESS_PREFIX + job.job_id), "the new owner's"
    await arq_client.set("go", 1)
    assert await job.result(timeout=20, poll_delay=0.02) == 2
    assert await arq_client.llen("ended") == 1


@contextmanager
def standing_still(worker: WorkerProcess) -> Iterator[None]:
    os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.process.pid, signal.SIGCONT)


def state(worker: WorkerProcess) -> str:
    """Its letter in Linux's ``/proc``: T where it stands still."""
    return Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


async def notes(client: ArqRedis) -> list[str]:
    """What jobs have noted, in order."""
    return [note.decode().split(":")[0] for note in await client.lrange("notes", 0, -1)]


async def test_a_job_whose_lease_came_late_is_left_to_the_worker_that_has_it_now(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any, redis_server: RedisServer
) -> None:
    """As when the loop, or the machine, stands still between asking for jobs and being told of them."""
    async with Door(redis_server.address.port, held=b"late") as door:
        first = start_worker(environment={**SHORT, "REDIS_QUEUE_PORT": str(door.port)})
        second = start_worker(environment=SHORT)
        await ready(first, second)
        os.kill(second.process.pid, signal.SIGSTOP)
        job = await enqueue(arq_client, "note", "late")
        await eventually(lambda: arq_client.exists(IN_PROGRESS_PREFIX + job.job_id))
        os.kill(second.process.pid, signal.SIGCONT)
        await job.result(timeout=30, poll_delay=0.02)
        with standing_still(second):
            door.opened.set()
            await (await enqueue(arq_client, "note", "after")).result(timeout=30, poll_delay=0.02)
        assert await notes(arq_client) == ["late", "after"]
        first.signal()
        await first.exit_code()


async def test_a_job_that_had_not_begun_when_all_stood_still_is_left_to_the_worker_that_has_it_now(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    stopping = await arq_client.enqueue_job("stop_process", _defer_until=datetime.now(UTC) - timedelta(hours=1))
    assert stopping is not None
    job = await enqueue(arq_client, "note", "late")
    first = start_worker(environment=SHORT)  # It leases both in one turn.
    await eventually(lambda: state(first) == "T")
    second = start_worker(environment=SHORT)
    await job.result(timeout=30, poll_delay=0.02)
    await stopping.result(timeout=30, poll_delay=0.02)
    with standing_still(second):
        os.kill(first.process.pid, signal.SIGCONT)
        await (await enqueue(arq_client, "note", "after")).result(timeout=30, poll_delay=0.02)
    assert await notes(arq_client) == ["late", "after"]


async def test_a_lease_is_not_renewed_for_ever(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    """A job that ignores its timeout holds its slot, but not the job: it may run elsewhere."""
    worker = start_worker("Stubborn", environment=SHORT)
    await ready(worker)
    job = await enqueue(arq_client, "stubborn", "never")
    await eventually(lambda: started(arq_client, 1))

    async def free() -> bool:
        return not await arq_client.exists(IN_PROGRESS_PREFIX + job.job_id)

    await eventually(free, within_s=20)
    assert await arq_client.zscore(default_queue_name, job.job_id) is not None


@pytest.mark.timeout(180)
async def test_forty_workers_of_ten_slots_run_four_hundred_jobs_at_once(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any
) -> None:
    """Four processes of a hundred slots stand for them: the queue sees the same."""
    workers = [start_worker(environment={"ARQUBE_CONCURRENCY": "100"}) for _ in range(4)]
    await ready(*workers)
    for _ in range(450):
        await enqueue(arq_client, "hold_until", "go")

    async def all_started() -> bool:
        return len(await arq_client.keys(IN_PROGRESS_PREFIX + "*")) == 400 and await started(arq_client, 400)

    await eventually(all_started, within_s=60)
    await arq_client.set("go", 1)

    async def drained() -> bool:
        return not await arq_client.zcard(default_queue_name)

    await eventually(drained, within_s=60)
    assert await arq_client.llen("ended") == 450


async def test_a_job_whose_function_is_not_known_waits_for_a_worker_that_knows_it(
    start_worker: Any, ready: Any, arq_client: ArqRedis, eventually: Any, redis: Redis
) -> None:
    old = start_worker("CronOnly", environment={"ARQUBE_UNKNOWN_FUNCTION_GRACE": "60"})
    await ready(old)
    job = await enqueue(arq_client, "note", "rolled out")
    await eventually(lambda: any(line["outcome"] == "put_back" for line in old.logged("job ended")))
    assert await redis.exists(RETRY_PREFIX + job.job_id) == 0
    start_worker()
    assert await job.result(timeout=60, poll_delay=0.02) == "rolled out"
    assert await arq_client.llen("notes") == 1
