"""Jobs that end their workers: each is buried after its tries, and those that ran beside it complete."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from arq.jobs import Job
from redis.asyncio import Redis

from arqube_queue import dead_letters
from builders.hostile import BAD, EXIT, plant
from builders.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(300)

SLOTS = 20
CROWDED = {"ARQUBE_CONCURRENCY": str(SLOTS), "ARQUBE_LEASE": "1"}


async def plant_payload(client: ArqRedis) -> str:
    await plant(client, EXIT)
    return BAD


async def plant_function(client: ArqRedis) -> str:
    job = await client.enqueue_job("kill_process")
    assert job is not None
    return job.job_id


@pytest.mark.parametrize(
    ("poison", "deaths"),
    [
        pytest.param(plant_payload, 6, id="a payload that ends each process that reads it"),
        pytest.param(plant_function, 5, id="a function that kills its process"),
    ],
)
@pytest.mark.parametrize("count", [pytest.param(1, id="one worker"), pytest.param(2, id="two workers")])
async def test_a_job_that_ends_its_workers_takes_no_other_with_it(
    start_worker: Any, arq_client: ArqRedis, redis: Redis, eventually: Any, poison: Any, deaths: int, count: int
) -> None:
    before = [await arq_client.enqueue_job("nap", 0.3) for _ in range(SLOTS // 2)]
    bad = await poison(arq_client)
    after = [await arq_client.enqueue_job("nap", 0.3) for _ in range(SLOTS)]
    workers: list[WorkerProcess] = [start_worker(environment=CROWDED) for _ in range(count)]
    ended: list[WorkerProcess] = []

    async def all_are_over() -> bool:
        """Starts ended workers anew, as a kubelet does."""
        for number, worker in enumerate(workers):
            if worker.process.poll() is not None:
                assert worker.process.returncode in (9, -signal.SIGKILL), worker.text
                ended.append(worker)
                workers[number] = start_worker(environment=CROWDED)
        return not await redis.zcard(default_queue_name)

    await eventually(all_are_over, within_s=240)
    (told,) = (await dead_letters.read_page(redis, default_queue_name)).letters
    assert (told.job_id, told.reason) == (bad, "tries_exhausted")
    assert len(ended) == deaths
    warnings = [worker.logged("the last two workers that took this job were lost") for worker in ended]
    assert [lines[-1]["job_id"] for lines in warnings if lines] == [bad] * (deaths - 2), "the culprit is the last named"
    tries = [await Job(job.job_id, arq_client).result(timeout=1) for job in (*before, *after) if job is not None]
    assert len(tries) == len(before) + len(after)
    assert max(tries) <= 3, "the job that ends workers costs another two tries at most"
