"""The queues' Redis, as the endpoints use it."""

from __future__ import annotations

from typing import Final

from arq.connections import ArqRedis

from app.core.config import FAST_QUEUE, SLOW_QUEUE, settings

QUEUES: Final = {"fast": FAST_QUEUE, "slow": SLOW_QUEUE}
"""The names that clients see."""


def create_queue() -> ArqRedis:
    """A client. Unlike ``create_pool`` it does not wait for Redis: users can sign up while that is away."""
    return ArqRedis(host=settings.redis_queue_host, port=settings.redis_queue_port)
