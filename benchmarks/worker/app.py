"""The arq app of the benchmark, which plain arq and Arqube run alike."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, ClassVar, Final

from arq.connections import RedisSettings

from benchmarks.worker import marks

STARTS: Final = "bench:starts"
"""Redis list of the process ids of those that started a ``hold``."""
RUNNING: Final = "bench:running"
"""Redis set of the ids of the ``hold`` jobs that run."""


async def noop(ctx: dict[str, Any]) -> None:
    """Do nothing."""
    marks.job_started()


async def stamp(ctx: dict[str, Any]) -> float:
    """Tell when it started, in seconds of the machine's monotonic clock."""
    return time.monotonic()


async def hold(ctx: dict[str, Any]) -> None:
    """Take a slot until the worker is ended."""
    await ctx["redis"].sadd(RUNNING, ctx["job_id"])
    await ctx["redis"].rpush(STARTS, os.getpid())
    await asyncio.sleep(3600)


class WorkerSettings:
    """arq as its documentation shows it."""

    functions: ClassVar = [noop, stamp, hold]
    redis_settings = RedisSettings(host="127.0.0.1", port=int(os.environ.get("BENCH_REDIS_PORT", "6379")))


class TunedSettings(WorkerSettings):
    """arq at its best: many slots and a short poll. All attributes are its own: arq does not look at inherited ones."""

    functions: ClassVar = WorkerSettings.functions
    redis_settings = WorkerSettings.redis_settings
    max_jobs = 100
    poll_delay = 0.01
