"""taskiq: its fastest broker, the list, which drops a job with its worker; results in Redis; one worker process."""

from __future__ import annotations

import asyncio
import os
import sys

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from benchmarks.worker import marks

URL = os.environ["BENCH_REDIS_URL"]
broker = ListQueueBroker(URL).with_result_backend(RedisAsyncResultBackend(URL))


@broker.task
async def noop() -> None:
    """Do nothing."""
    marks.job_started()


async def enqueue(jobs: int) -> None:
    """Put ``jobs`` jobs into the queue, under the name by which the worker imports them."""
    from benchmarks.worker.peers import taskiq_app

    await taskiq_app.broker.startup()
    for _ in range(jobs):
        await taskiq_app.noop.kiq()
    await taskiq_app.broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        module = "benchmarks.worker.peers.taskiq_app:broker"
        options = ["--workers", "1", "--max-async-tasks", "100", "--log-level", "WARNING", "--no-parse"]
        os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", module, *options])  # noqa: S606
    asyncio.run(enqueue(int(sys.argv[2])))
