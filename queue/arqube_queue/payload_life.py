"""Keeps the payloads of waiting jobs: arq's live a day beyond the due time, and a backlog may well be older.

A payload whose time to live is the default one (due time + ``expires_extra_ms``, as arq's ``enqueue_job`` sets it) is
kept until its job has run. One for which the producer has set ``_expires`` keeps that, unless it says the same.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from arqube_queue import keys, scripts
from arqube_queue.answers import count

DEFAULT_LIFE_MS: Final = 86_400_000
"""arq's ``expires_extra_ms``: how long a payload lives beyond the due time."""
TOLERANCE_MS: Final = 60_000
"""How far the producer's clock and Redis's may be apart for a default life to be known as such."""
LOOK: Final = 1000
"""Members looked at in one call."""

_KEEP = scripts.load("keep_payloads")


async def keep_payloads(redis: Redis, queue: str, *, first: int = 0, default_life_ms: int = DEFAULT_LIFE_MS) -> int:
    """Keep the payloads of jobs that are overdue by more than half the default life; call it now and then.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        first: What the former call returned: the rank at which to go on.
        default_life_ms: The producers' ``expires_extra_ms``.

    Returns:
        The rank at which to go on; 0 when all were seen.
    """
    arguments: list[str | bytes | int] = [keys.JOB_PREFIX, default_life_ms, TOLERANCE_MS, first, LOOK]
    return count(await _KEEP(redis, [queue], arguments))
