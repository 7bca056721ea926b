"""streaQ: 100 slots, results kept for its default of 5 minutes, uvloop."""

from __future__ import annotations

import asyncio
import os
import sys

from streaq import Worker

from benchmarks.worker import marks

worker: Worker[None] = Worker(
    redis_url=os.environ["BENCH_REDIS_URL"], concurrency=100, anyio_kwargs={"use_uvloop": True}
)


@worker.task
async def noop() -> None:
    """Do nothing."""
    marks.job_started()


async def enqueue(jobs: int) -> None:
    """Put ``jobs`` jobs into the queue, a thousand at once."""
    async with worker:
        for _ in range(0, jobs, 1000):
            await worker.enqueue_many([noop.enqueue() for _ in range(1000)])


if __name__ == "__main__":
    if sys.argv[1] == "work":
        worker.run_sync()
    else:
        asyncio.run(enqueue(int(sys.argv[2])))
