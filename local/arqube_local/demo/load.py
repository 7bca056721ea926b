"""The demo's load: jobs enqueued by a plain arq client in bursts, a pause and a deferred batch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from arqube_queue.connection import RedisAddress

SHORTEST_S: Final = 0.05
LONGEST_S: Final = 0.5
DEFER_S: Final = 10.0

FIRST_BURST: Final = 400
SECOND_BURST: Final = 900
LATE_BURST: Final = 400
DEFERRED: Final = 300
TOTAL: Final = FIRST_BURST + SECOND_BURST + LATE_BURST + DEFERRED
PAUSE_S: Final = 16.0
"""Longer than the first burst takes and its workers stay."""


class Load:
    """An arq producer that counts what it enqueued; ``say`` is told of each step."""

    def __init__(self, pool: ArqRedis, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._say = say
        # The same jobs each time: runs of the demo can be compared.
        self._random = random.Random(1)  # noqa: S311 - no secret
        self.enqueued = 0
        self.began = asyncio.Event()

    @classmethod
    async def connect(cls, address: RedisAddress, say: Callable[[str], None]) -> Load:
        """A producer for the Redis at ``address``."""
        settings = RedisSettings(host=address.host, port=address.port, database=address.database)
        return cls(await create_pool(settings), say)

    async def run(self, in_the_middle: Callable[[], Awaitable[None]]) -> None:
        """Enqueue everything; ``in_the_middle`` is awaited while the second burst is worked on, before the last."""
        await self._enqueue(FIRST_BURST, "a burst, then a pause")
        await asyncio.sleep(PAUSE_S)
        await self._enqueue(DEFERRED, f"a batch for {DEFER_S:.0f} s from now", timedelta(seconds=DEFER_S))
        await self._enqueue(SECOND_BURST, "a second burst")
        await in_the_middle()
        await self._enqueue(LATE_BURST, "a last burst")

    async def close(self) -> None:
        """Let go of Redis."""
        await self._pool.aclose()

    async def _enqueue(self, count: int, what: str, defer: timedelta | None = None) -> None:
        self._say(f"enqueue {count}: {what}")
        for _ in range(count):
            seconds = self._random.uniform(SHORTEST_S, LONGEST_S)
            if await self._pool.enqueue_job("work", seconds, _defer_by=defer) is not None:
                self.enqueued += 1
                self.began.set()
