from typing import Any

from ..redis import REDIS


async def deliver(ctx: dict[str, Any], address: str) -> str:
    await ctx["redis"].enqueue_job("render", address, _queue_name="reports")
    return f"delivered to {address}"


class MailSettings:
    functions = [deliver]
    redis_settings = REDIS
    queue_name = "mail"
    max_jobs = 50
    job_timeout = 20
