"""Turns of workers of ours at a queue, at a clock that stands still, and what they leave of a job."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from arqube_queue.keys import JOB_PREFIX
from arqube_queue.turns import Death, End, Lease, Policy, Turn, Turns

QUEUE = "arq:queue"
NOW = 1_700_000_000_000
DEATH = Death("failed", "work", "ValueError: no luck", "Traceback ...", 2, NOW - 7)


def worker(redis: Redis, name: str = "us", **policy: Any) -> Turns:
    return Turns(redis, QUEUE, worker=name, token=name, policy=Policy(**policy))


async def take(us: Turns, *ends: End, limit: int = 0, now_ms: int = NOW, **options: Any) -> Turn:
    return await us.take(ends, now_ms=now_ms, limit=limit, **options)


async def lease_one(redis: Redis, us: Turns, job_id: str = "a", due: int = NOW, payload: bytes = b"payload") -> Lease:
    await redis.zadd(QUEUE, {job_id: due})
    await redis.set(JOB_PREFIX + job_id, payload)
    (lease,) = (await take(us, limit=1, now_ms=max(NOW, due))).leases
    return lease


async def traces(redis: Redis, job_id: str = "a") -> list[bytes]:
    """What is left of a job, dead letters apart."""
    found: list[bytes] = await redis.keys(f"arq:*:{job_id}")
    if await redis.zscore(QUEUE, job_id) is not None:
        found.append(b"member")
    return sorted(found)
