import os
from collections.abc import Callable, Sequence
from typing import Any

from arq.connections import RedisSettings
from arq.worker import func


def redis_settings() -> RedisSettings:
    return RedisSettings(host=os.getenv("PIPELINE_REDIS", "localhost"), port=int(os.getenv("PIPELINE_PORT", "6379")))


def make_settings(functions: Sequence[Callable[..., Any]], *, queue: str, slots: int = 20, timeout: int = 60) -> type:
    """A settings class for one step of the pipeline."""
    return type(
        "WorkerSettings",
        (),
        {
            "functions": [
                func(function, name=f"{queue}.{function.__name__}", timeout=timeout) for function in functions
            ],
            "queue_name": f"pipeline:{queue}",
            "redis_settings": redis_settings(),
            "max_jobs": slots,
        },
    )
