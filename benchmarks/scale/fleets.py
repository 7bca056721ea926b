"""One queue and more and more jobs that run: what it costs a worker of a large fleet to find a free one.

Jobs end in no order, as they do: those that run are not all at the head of the queue, and not the same for long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import turns
from arqube_queue.turns import Lease, Policy, Turns

WORKERS: Final = (1, 10, 100, 300)
SLOTS: Final = 100
ENDS: Final = 10
"""Jobs that a worker ends, and takes, at a time: the mean."""
CLAIMS: Final = 1000
CHUNK: Final = 10_000
LEASE_S: Final = 600.0
"""Longer than the measuring takes: nobody renews."""
QUEUE: Final = "arq:queue"


async def measure(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The figures of each number of workers, all of whose slots are busy."""
    return [await _measure(size) for size in sizes]


async def _measure(workers: int) -> dict[str, Any]:
    with RedisServer() as server:
        redis = server.address.connect(timeout_s=60)
        try:
            await _fill(redis, 2 * workers * SLOTS + 2 * CLAIMS * ENDS)
            fleet = [_Worker(redis, number) for number in range(workers)]
            for worker in fleet:
                await worker.claim([])
            await redis.config_resetstat()
            calls, chance = 0, random.Random(workers)  # noqa: S311
            for _ in range(CLAIMS):
                calls += await chance.choice(fleet).end_some(chance)
            used_us = (await redis.info("commandstats"))["cmdstat_evalsha"]["usec"]
        finally:
            await redis.aclose()
    return {
        "running": workers * SLOTS,
        "calls_a_claim": round(calls / CLAIMS, 2),
        "claim_server_ms": round(used_us / 1000 / CLAIMS, 3),
    }


class _Worker:
    def __init__(self, redis: Redis, number: int) -> None:
        name = f"w{number}"
        self._turns = Turns(redis, QUEUE, worker=name, token=name, policy=Policy(lease_s=LEASE_S))
        self._held: list[Lease] = []

    async def end_some(self, chance: random.Random) -> int:
        """End some of its jobs and take others; the calls that took."""
        chance.shuffle(self._held)
        count = chance.randint(1, 2 * ENDS - 1)
        ended, self._held = self._held[:count], self._held[count:]
        return await self.claim(ended)

    async def claim(self, ended: Sequence[Lease]) -> int:
        """End those jobs and fill the free slots; the calls that took."""
        ends, calls = [turns.finish(lease, None) for lease in ended], 0
        while len(self._held) < SLOTS:
            turn = await self._turns.take(ends, now_ms=int(time.time() * 1000), limit=SLOTS - len(self._held))
            self._held += turn.leases
            ends, calls = [], calls + 1
        return calls


async def _fill(redis: Redis, jobs: int) -> None:
    due_ms = int(time.time() * 1000) - 3_600_000
    for first in range(0, jobs, CHUNK):
        numbers = range(first, min(first + CHUNK, jobs))
        await redis.zadd(QUEUE, {f"{number:032x}": due_ms + number / 100 for number in numbers})
