"""A queue with dead letters, and ``arqube dlq`` called in this process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from arq.jobs import serialize_job
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from arqube_local.cli import main
from arqube_local.redis_server import RedisServer
from arqube_queue import keys

QUEUE = "mail"
NOW_MS = int(time.time() * 1000)
DAY_MS = 86_400_000
PAYLOAD = serialize_job("send", ("a",), {}, None, NOW_MS - 9 * DAY_MS)

Cli = Callable[..., Awaitable[Result]]
Bury = Callable[..., Awaitable[None]]


@pytest.fixture
def bury(redis: Redis) -> Bury:
    """Write a dead letter as a worker does."""

    async def write(job_id: str, *, age_ms: int = 10_000, **fields: Any) -> None:
        letter = {
            "payload": PAYLOAD,
            "reason": "failed",
            "function": "send",
            "error": "ValueError: no such mail",
            "traceback": 'Traceback (most recent call last):\n  File "mail.py", line 3, in send\nValueError: ...\n',
            "tries": 5,
            "enqueued_ms": 1_700_000_000_000,
            "died_ms": NOW_MS - age_ms,
            "worker": "pod-1",
        }
        await redis.hset(keys.dead_letter(QUEUE, job_id), mapping={**letter, **fields})  # type: ignore[misc]
        await redis.zadd(keys.dead_letters(QUEUE), {job_id: NOW_MS - age_ms})

    return write


@pytest_asyncio.fixture
async def four(bury: Bury) -> None:
    """Four dead letters that differ in all that can be asked for; the oldest cannot be retried."""
    await bury("new", age_ms=60_000)
    await bury("slow", age_ms=DAY_MS, reason="timeout", error="TimeoutError")
    await bury("bill", age_ms=3 * DAY_MS, function="bill", error="KeyError: 'Price'")
    await bury("old", age_ms=8 * DAY_MS, reason="expired", error="job expired", payload="", function="")


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Call ``arqube dlq``, in an environment that names no queue; it has an event loop of its own."""
    for name in list(os.environ):
        if name.startswith("ARQUBE_"):
            monkeypatch.delenv(name)

    async def call(*arguments: str, environ: dict[str, str] | None = None, typed: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, ["dlq", *arguments], input=typed, env=environ)

    return call


@pytest.fixture
def cli(invoke: Cli, redis: Redis, redis_server: RedisServer) -> Cli:
    """The same on the queue of the tests."""

    async def call(command: str, *arguments: str, **options: Any) -> Result:
        return await invoke(command, "--redis", redis_server.url, "--queue", QUEUE, *arguments, **options)

    return call
