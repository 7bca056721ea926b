"""A worker whose jobs are JSON: the serializers that the runtime offers, on the worker's side."""

import os
from typing import Any

from arq.connections import RedisSettings

from arqube_worker.serializers import json_deserializer, json_serializer


async def send(ctx: dict[str, Any], address: str) -> dict[str, Any]:
    """Fail until a test sets the key ``post office``."""
    if not await ctx["redis"].exists("post office"):
        raise ValueError(f"nobody takes mail to {address}")
    return {"sent": address, "try": ctx["job_try"]}


class WorkerSettings:
    """As an app writes it."""

    functions = (send,)
    job_serializer = json_serializer
    job_deserializer = json_deserializer
    redis_settings = RedisSettings(
        host=os.environ.get("REDIS_QUEUE_HOST", "localhost"), port=int(os.environ.get("REDIS_QUEUE_PORT", "6379"))
    )
