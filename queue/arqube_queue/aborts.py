"""Forgets requests to abort jobs that are over: arq leaves them for ever when they come too late."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from arqube_queue import keys, scripts
from arqube_queue.answers import count

LIFE_MS: Final = 86_400_000
"""How long a request is kept at least, in milliseconds."""
LOOK: Final = 1000
"""Requests looked at in one call."""

_FORGET = scripts.load("forget_aborts")


async def forget_old(redis: Redis) -> int:
    """Forget the oldest of them, of all queues, unless their jobs still exist; call it now and then.

    Returns:
        How many were forgotten.
    """
    return count(await _FORGET(redis, [keys.ABORT], [keys.JOB_PREFIX, LIFE_MS, LOOK]))
