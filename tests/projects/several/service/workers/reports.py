import asyncio
from typing import Any

from ..redis import REDIS


def _count(words: str) -> int:
    return len(words)


async def render(ctx: dict[str, Any], words: str) -> int:
    return await asyncio.to_thread(_count, words)


class ReportSettings:
    functions = [render]
    redis_settings = REDIS
    queue_name = "reports"
    max_jobs = 2
    job_timeout = 900
