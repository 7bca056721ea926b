"""The app of the live comparison: jobs that sleep, and tell Redis when each run of them began and ended.

The same image runs as ``arqube-worker app.WorkerSettings`` and as plain ``arq app.WorkerSettings``.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from typing import Any

from arq.connections import RedisSettings


async def work(ctx: dict[str, Any], seconds: float) -> None:
    """Note the start, sleep, note the end. Times are Redis's, as clocks of nodes differ."""
    redis, run = ctx["redis"], uuid.uuid4().hex
    queue = redis.default_queue_name
    at, microseconds = await redis.time()
    start = {"run": run, "job": ctx["job_id"], "at_s": at + microseconds / 1e6}
    await redis.rpush(f"live:{queue}:starts", json.dumps(start))
    await asyncio.sleep(seconds)
    await redis.sadd(f"live:{queue}:ends", run)


class WorkerSettings:
    """What plain arq needs to know. Arqube's operator says the Redis, the queue and the slots itself, the same ones."""

    functions = (work,)
    redis_settings = RedisSettings(host=os.environ.get("LIVE_REDIS_HOST", "redis"))
    queue_name = os.environ.get("LIVE_QUEUE", "arq:queue")
    max_jobs = 5
    # Without it arq cuts its jobs as soon as its pod is asked to end; with it they have the grace period but for 5 s.
    job_completion_wait = 55
