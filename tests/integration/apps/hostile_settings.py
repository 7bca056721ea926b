"""Settings for workers that are fed hostile data: with pickles, JSON and MessagePack."""

from __future__ import annotations

import os
from typing import Any

import tasks
from arq.connections import RedisSettings

from arqube_worker.serializers import json_deserializer, json_serializer, msgpack_deserializer, msgpack_serializer


async def take(_ctx: dict[str, Any], _argument: Any) -> None:
    """Do nothing with it."""


async def measure(ctx: dict[str, Any], data: bytes) -> int:
    """Tell how much was sent."""
    await ctx["redis"].rpush("measured", len(data))
    return len(data)


class Pickles:
    """arq's default."""

    functions = (tasks.note, take, measure)
    poll_delay = 0.05
    redis_settings = RedisSettings(
        host=os.getenv("REDIS_QUEUE_HOST", "localhost"), port=int(os.getenv("REDIS_QUEUE_PORT", "6379"))
    )


class Fragile(Pickles):
    """A job has one try, and a queue of its own."""

    max_tries = 1
    queue_name = "fragile"


class Json(Pickles):
    """Payloads that run no code; a queue of its own."""

    queue_name = "json"
    job_serializer = json_serializer
    job_deserializer = json_deserializer


class Msgpack(Pickles):
    """Likewise."""

    queue_name = "msgpack"
    job_serializer = msgpack_serializer
    job_deserializer = msgpack_deserializer
