"""What calls cost Redis and their caller: the server's own time a call, the time until the answer, the bytes of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

_SCRIPTS: Final = frozenset({"cmdstat_eval", "cmdstat_evalsha"})
_BYTES_OF: Final = 3
"""Calls whose answers are weighed."""

Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call of several.

    Attributes:
        server_ms: Milliseconds of Redis' only thread, of the fastest: the others waited for the processor.
        wall_ms: Milliseconds until its caller has what it wanted, the median.
    """

    server_ms: float
    wall_ms: float


async def cost(redis: Redis, call: Call, times: int) -> Cost:
    """The cost of ``call``, made so many times one after the other; nobody else may use the server meanwhile."""
    await call()  # It may have to load its script.
    server, wall = [], []
    for _ in range(times):
        before, began = await _used_us(redis), time.perf_counter()
        await call()
        wall.append(time.perf_counter() - began)
        server.append(_spent_us(before, await _used_us(redis)))
    return Cost(round(min(server) / 1000, 4), round(1000 * statistics.median(wall), 3))


async def answer_bytes(redis: Redis, call: Call) -> int:
    """Bytes that Redis sends for ``call``; nobody else may use the server meanwhile."""
    first = await _sent_bytes(redis)
    own = await _sent_bytes(redis) - first
    before = await _sent_bytes(redis)
    for _ in range(_BYTES_OF):
        await call()
    return (await _sent_bytes(redis) - before - own) // _BYTES_OF


async def memory_bytes(redis: Redis) -> int:
    """Bytes of memory that the server's data take."""
    return int((await redis.info("memory"))["used_memory"])


async def _sent_bytes(redis: Redis) -> int:
    return int((await redis.info("stats"))["total_net_output_bytes"])


async def _used_us(redis: Redis) -> dict[str, int]:
    """Microseconds so far by command."""
    stats = await redis.info("commandstats")
    return {name: told["usec"] for name, told in stats.items() if name != "cmdstat_info"}


def _spent_us(before: dict[str, int], after: dict[str, int]) -> int:
    """Between two looks. The commands of a script are in the script's own time already."""
    spent = {name: used - before.get(name, 0) for name, used in after.items()}
    of_scripts = sum(spent.get(name, 0) for name in _SCRIPTS)
    return of_scripts or sum(spent.values())
