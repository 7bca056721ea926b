"""The app that every contender runs: one job that does nothing."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from arq.connections import RedisSettings


async def noop(ctx: dict[str, Any]) -> None:
    """Do nothing."""


class WorkerSettings:
    """arq as its documentation shows it."""

    functions: ClassVar = [noop]
    redis_settings = RedisSettings(host="127.0.0.1", port=int(os.environ.get("BENCH_REDIS_PORT", "6379")))
    log_results = False


class TunedSettings(WorkerSettings):
    """arq at its best: many slots and a short poll. All attributes are its own: arq does not look at inherited ones."""

    functions: ClassVar = [noop]
    redis_settings = WorkerSettings.redis_settings
    log_results = False
    max_jobs = 100
    poll_delay = 0.01
