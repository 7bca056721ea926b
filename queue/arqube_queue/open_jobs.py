"""Settles what is recorded of jobs as if they had not ended, when a plain arq worker has ended them."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from arqube_queue import keys, scripts
from arqube_queue.answers import count

LOOK: Final = 1000
"""Jobs looked at in one call, about; they are a queue's jobs that run or wait for another try."""

_SETTLE = scripts.load("settle_open")


async def settle(redis: Redis, queue: str, *, cursor: int = 0) -> int:
    """Move jobs that are queued no more to the ended ones, with the tries that are known; call it now and then.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        cursor: What the former call returned; 0 to begin.

    Returns:
        Where to go on; 0 when all were seen.
    """
    names = [queue, keys.open_jobs(queue), keys.job_records(queue), keys.job_ends(queue)]
    return count(await _SETTLE(redis, names, [cursor, LOOK]))
