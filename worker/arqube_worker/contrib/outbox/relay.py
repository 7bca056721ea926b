"""Moves the jobs of an outbox into Redis, each once whatever breaks meanwhile."""

from __future__ import annotations

from types import TracebackType

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from arqube_worker.contrib.outbox.table import Outbox


class Relay:
    """Moves what was committed into Redis. Several may run at once, in as many processes.

    An async context manager that runs it in the background, for the lifespan of an app; or ``await relay.run()``.

    Args:
        outbox: What it empties.
        engine: Where the outbox's table is.
        redis: Where the queues are: the pool by which the app reads results, or any client of redis-py.
        poll_s: How often it looks, in seconds, when no commit of this process wakes it.
        settle_s: How long, in seconds, a row is kept after it was moved. Redis may forget what it was told within this
            time, as by a crash with ``appendfsync everysec``: then the job is moved anew.
        batch_size: How many jobs are moved at once.
    """

    def __init__(
        self,
        outbox: Outbox,
        engine: AsyncEngine,
        redis: Redis,
        *,
        poll_s: float = 1.0,
        settle_s: float = 30.0,
        batch_size: int = 100,
    ) -> None:
        self._outbox = outbox

    async def run(self) -> None:
        """Move jobs until cancelled. A database or Redis that is away is waited for."""
        raise NotImplementedError

    async def move(self) -> int:
        """Move what is committed now, one batch of it; how many rows were moved."""
        raise NotImplementedError

    async def settle(self) -> int:
        """Delete rows that were moved long enough ago, one batch of them; how many rows were dealt with."""
        raise NotImplementedError

    async def __aenter__(self) -> Relay:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError
