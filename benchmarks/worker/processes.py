"""Worker processes to measure, and what their Redis says about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import serialize_job
from redis.asyncio import Redis

from arqube_queue.keys import DEFAULT_QUEUE, JOB_PREFIX
from benchmarks.worker.contenders import REPOSITORY, Contender, environment_of

TIMEOUT_S = 180.0


@asynccontextmanager
async def client(port: int) -> AsyncIterator[ArqRedis]:
    """A plain arq client of the Redis at ``port``, emptied first."""
    pool = await create_pool(RedisSettings(host="127.0.0.1", port=port))
    try:
        await pool.flushall()
        yield pool
    finally:
        await pool.aclose()


@asynccontextmanager
async def running(contender: Contender, port: int, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``contender`` as a process that reads from the Redis at ``port``; killed at the end, as nothing of it is needed.

    Its output goes to a null device: the same for all.
    """
    process = await asyncio.create_subprocess_exec(
        *contender.command,
        env=environment_of(contender, port, **environment),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
        await process.wait()


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until ``holds``.

    Raises:
        TimeoutError: It did not within ``timeout_s`` seconds; says ``what`` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(0.02)


async def preload(redis: Redis, jobs: int) -> None:
    """Put ``jobs`` no-op jobs into arq's queue, as arq's ``enqueue_job`` does, but a thousand at once."""
    now_ms = int(time.time() * 1000)
    payload = serialize_job("noop", (), {}, None, now_ms)
    for start in range(0, jobs, 1000):
        ids = [f"job-{number}" for number in range(start, min(start + 1000, jobs))]
        async with redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.psetex(JOB_PREFIX + job_id, 86_400_000, payload)
            pipe.zadd(DEFAULT_QUEUE, dict.fromkeys(ids, now_ms))
            await pipe.execute()


async def requests(redis: Redis) -> int:
    """Requests that Redis has read from its clients' connections: what clients have waited for.

    ``total_commands_processed`` would not do: it counts the commands inside scripts and transactions too. A pipeline
    is one request; one beyond 16 KiB may count more than once, which is never in our favour.
    """
    stats: dict[str, Any] = await redis.info("stats")
    return int(stats["total_reads_processed"])
