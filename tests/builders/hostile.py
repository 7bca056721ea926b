"""Payloads that nobody should send, and jobs that must run beside them."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from arqube_queue import keys

QUEUE = keys.DEFAULT_QUEUE
BAD = "bad"


def job(function: Any = "note", *args: Any, **fields: Any) -> dict[str, Any]:
    """arq's record of a job; ``fields`` differ, and one that is ``...`` is left out."""
    document = {"t": None, "f": function, "a": args, "k": {}, "et": 1_700_000_000_000, **fields}
    return {name: value for name, value in document.items() if value is not ...}


def reduced(*call: Any) -> bytes:
    """A pickle of a job with an argument that is made by a call."""
    return pickle.dumps(job("note", Reduced(*call)))


class Reduced:
    """Becomes the result of a call when it is loaded."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        function, *arguments = self._call
        return function, tuple(arguments)


def raises(kind: str) -> bytes:
    """A pickle of a job that raises when it is loaded."""
    return reduced(exec, f"raise {kind}")


def with_persistent_id() -> bytes:
    """A pickle that names an object outside of it."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            return "elsewhere" if obj == "bad" else None

    file = io.BytesIO()
    Pickler(file).dump(job("note", "bad"))
    return file.getvalue()


def nested(depth: int) -> bytes:
    """A pickle of a job whose argument is a list in a list and so on."""
    shell = pickle.dumps(job("take", None), protocol=2)
    return shell.replace(b"N\x85", b"]" * depth + b"a" * (depth - 1) + b"\x85", 1)


def laughs(levels: int) -> list[Any]:
    """A list of few objects that is as large as ten to the power of ``levels``, if it is written out."""
    value: list[Any] = ["ha"]
    for _ in range(levels):
        value = [value] * 10
    return value


async def plant(redis: Redis, payload: bytes, job_id: str | bytes = BAD, *, queue: str = QUEUE) -> None:
    """Queue a payload, due for long, so that it is taken ahead of good jobs."""
    name = job_id if isinstance(job_id, bytes) else job_id.encode()
    await redis.set(keys.JOB_PREFIX.encode() + name, payload)
    await redis.zadd(queue, {name: 1_700_000_000_000})


async def plant_good(redis: Redis, dump: Any = pickle.dumps, job_id: str = "good", *, queue: str = QUEUE) -> None:
    """Queue a job that notes its own id."""
    now_ms = int(time.time() * 1000)
    await redis.set(keys.JOB_PREFIX + job_id, dump(job("note", job_id, et=now_ms)), px=86_400_000)
    await redis.zadd(queue, {job_id: now_ms - 1})


async def letter(redis: Redis, job_id: str = BAD, *, queue: str = QUEUE) -> Mapping[str, bytes]:
    """The raw fields of a dead letter; empty when there is none."""
    fields = await redis.hgetall(keys.dead_letter(queue, job_id))  # type: ignore[misc]
    return {name.decode(): value for name, value in fields.items()}


EXIT = reduced(os._exit, 9)
