"""SAQ: 100 slots, results kept for its default of 10 minutes."""

from __future__ import annotations

import os
import sys
from typing import Any

from saq import Queue, Worker

from benchmarks.worker import marks

queue = Queue.from_url(os.environ["BENCH_REDIS_URL"])


async def noop(ctx: dict[str, Any]) -> None:
    """Do nothing."""
    marks.job_started()


async def enqueue(jobs: int) -> None:
    """Put ``jobs`` jobs into the queue."""
    for _ in range(jobs):
        await queue.enqueue("noop")
    await queue.disconnect()


async def work() -> None:
    """Run them."""
    await Worker(queue, [noop], concurrency=100).start()


if __name__ == "__main__":
    import uvloop

    uvloop.run(work() if sys.argv[1] == "work" else enqueue(int(sys.argv[2])))
