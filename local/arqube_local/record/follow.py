"""Follows a live queue and hands on its arrivals: reads what was touched, and starts over after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.record.changes import Changes
from arqube_local.record.recording import Arrival, Look, Recording
from arqube_queue import heartbeat, keys

COUNT_S: Final = 1.0
"""Pause between two looks at the workers' counters, which they write as often."""
PAGE: Final = 500
"""Jobs looked at in one round trip."""
RETRY_S: Final = 1.0

Sink = Callable[[Iterable[Arrival]], None]


class Follower:
    """Records the arrivals of ``queue``.

    Args:
        sink: Takes the arrivals as they become known, in no order.
        progress: Called each second, and with a sentence when something is wrong.

    Attributes:
        recording: What was seen so far.
        now_ms: Redis's clock at the last look.
    """

    def __init__(self, redis: Redis, queue: str, sink: Sink, progress: Callable[[str | None], None]) -> None:
        self.recording: Recording
        self.start_ms = self.now_ms = 0.0
        self._redis = redis
        self._queue = queue
        self._sink = sink
        self._progress = progress

    async def follow(self, stop: asyncio.Event, for_s: float | None) -> None:
        """Record until ``stop`` is set, or for so many seconds.

        Raises:
            RefusedError: The server does not tell of changes.
            redis.exceptions.RedisError, OSError: It cannot be reached at the start; later that is waited out.
        """
        self.start_ms = self.now_ms = await self._time_ms()
        self.recording = Recording(self.start_ms)
        loop = asyncio.get_running_loop()
        until = None if for_s is None else loop.time() + for_s
        began = False
        try:
            while not self._is_over(stop, until):
                try:
                    async with Changes(self._redis) as changes:
                        await self._list(resumed=began)
                        began = True
                        await self._watch(changes, stop, until)
                except (RedisError, OSError) as error:
                    if not began:
                        raise
                    self._progress(f"Redis is away, trying again: {str(error) or type(error).__name__}")
                    await asyncio.sleep(RETRY_S)
        finally:
            self._sink(self.recording.end())

    def _is_over(self, stop: asyncio.Event, until: float | None) -> bool:
        return stop.is_set() or (until is not None and asyncio.get_running_loop().time() >= until)

    async def _watch(self, changes: Changes, stop: asyncio.Event, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        counted = 0.0
        while not self._is_over(stop, until):
            if loop.time() - counted >= COUNT_S:
                counted = loop.time()
                await self._count()
                self._progress(None)
            waits = [counted + COUNT_S - loop.time(), 0.2, *([until - loop.time()] if until is not None else [])]
            await changes.wait(max(0.0, min(waits)))
            touched, everything = changes.take()
            if everything:
                await self._list(resumed=True)
            for first in range(0, len(touched), PAGE):
                looks = await self._look(touched[first : first + PAGE])
                self._sink(self.recording.look(looks, self.now_ms))

    async def _count(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(keys.heartbeats(self._queue))
        pipeline.time()
        fields, (seconds, micros) = await pipeline.execute()
        self.now_ms = int(seconds) * 1000 + int(micros) / 1000
        beats = [beat for worker, value in fields.items() if (beat := heartbeat.decode(worker, value)) is not None]
        self._sink(self.recording.count(beats, self.now_ms))

    async def _list(self, *, resumed: bool) -> None:
        """Look at every job of the queue, a page at a time."""
        looks = [look async for page in self._pages() for look in page]
        if resumed:
            self._sink(self.recording.resume(looks, self.now_ms))
        else:
            self.recording.begin(looks)

    async def _pages(self) -> AsyncIterator[Sequence[Look]]:
        """By due time, not by rank: jobs that end meanwhile would shift the ranks of the others."""
        least, at_least = "-inf", 0
        while True:
            members: list[tuple[bytes, float]] = await self._redis.zrangebyscore(
                self._queue, least, "+inf", start=at_least, num=PAGE, withscores=True
            )
            if not members:
                return
            yield await self._look([member for member, _ in members])
            last = members[-1][1]
            same = sum(score == last for _, score in members)
            at_least = same + (at_least if members[0][1] == last and least == repr(last) else 0)
            least = repr(last)

    async def _look(self, job_ids: Sequence[bytes]) -> list[Look]:
        """How jobs are now; sets the time, too."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.zscore(self._queue, job_id)
            pipeline.exists(keys.IN_PROGRESS_PREFIX.encode() + job_id)
        pipeline.time()
        *answers, (seconds, micros) = await pipeline.execute()
        self.now_ms = int(seconds) * 1000 + int(micros) / 1000
        return [
            Look(job_id, due_ms, bool(running))
            for job_id, due_ms, running in zip(job_ids, answers[::2], answers[1::2], strict=True)
        ]

    async def _time_ms(self) -> float:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) / 1000
