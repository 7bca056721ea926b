import os
from datetime import timedelta
from typing import Any

from arq.connections import RedisSettings


async def open_catalogue(ctx: dict[str, Any]) -> None:
    ctx["prices"] = {"tea": 3, "cake": 4}


class BaseWorkerSettings:
    """What all workers of the shop share."""

    redis_settings = RedisSettings.from_dsn(os.environ.get("SHOP_REDIS_URL", "redis://redis:6379/0"))
    on_startup = open_catalogue
    job_timeout = timedelta(minutes=2)
    max_jobs = 4
    keep_result = 600
