"""Counts how often it has run. Nobody enqueues anything here."""

import os
from typing import Any

from arq import cron
from arq.connections import RedisSettings


async def tick(ctx: dict[str, Any]) -> int:
    return int(await ctx["redis"].incr("ticks"))


async def sweep(ctx: dict[str, Any]) -> int:
    return int(await ctx["redis"].incr("sweeps"))


class WorkerSettings:
    functions = []
    cron_jobs = [
        cron(tick, second=set(range(60))),
        cron(sweep, hour=3, minute=0, run_at_startup=True),
    ]
    redis_settings = RedisSettings(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]))
