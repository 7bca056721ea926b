import os

from arq.connections import RedisSettings
from arq.worker import Retry, func

SECONDS = 1


async def fetch(ctx, page):
    if ctx["job_try"] < 3:
        raise Retry(defer=0.05)
    return f"{page} after {ctx['job_try']} tries"


async def echo(ctx, text):
    return text


worker_settings = {
    "functions": [func(fetch, max_tries=4, timeout=15 * SECONDS), echo],
    "redis_settings": RedisSettings.from_dsn(os.getenv("REDIS_URL", "redis://localhost:6379")),
    "max_jobs": 25,
    "job_completion_wait": 45,
    "max_tires": 2,
}
