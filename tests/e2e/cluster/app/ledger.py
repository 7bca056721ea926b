"""The app of the end-to-end run: arq jobs that keep a ledger in Redis, so that each run of each job can be counted."""

from __future__ import annotations

import asyncio
import os
from typing import Any

VERSION = os.environ["LEDGER_VERSION"]


async def work(ctx: dict[str, Any], seconds: float) -> None:
    """Note the start, sleep, note the end. Times are Redis's, as clocks of nodes differ."""
    redis, queue = ctx["redis"], ctx["redis"].default_queue_name
    at, microseconds = await redis.time()
    async with redis.pipeline() as both:
        both.hincrby(f"ledger:{queue}:started", ctx["job_id"], 1)
        both.set(f"ledger:{queue}:first", at + microseconds / 1e6, nx=True)
        await both.execute()
    await asyncio.sleep(seconds)
    async with redis.pipeline() as both:
        both.hincrby(f"ledger:{queue}:completed", ctx["job_id"], 1)
        both.hincrby(f"ledger:{queue}:versions", VERSION, 1)
        await both.execute()


class WorkerSettings:
    """The operator says which Redis and which queue."""

    functions = (work,)
