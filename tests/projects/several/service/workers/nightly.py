from typing import Any

from arq import cron

from ..redis import REDIS


async def clean(ctx: dict[str, Any]) -> str:
    return "clean"


class NightlySettings:
    cron_jobs = [cron(clean, hour=2, minute=30, timeout=600)]
    redis_settings = REDIS
    queue_name = "nightly"
