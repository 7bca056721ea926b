"""The last minutes of a queue and its workers: samples that the operator's readings leave in the queue's own Redis.

The script of ``arqube_queue.snapshot`` adds one every 5 s and keeps 180 of them: 15 minutes in some 7 KB a queue. They
go an hour after the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from arqube_queue import keys
from arqube_queue.answers import answers
from arqube_queue.payload import MOST

SAMPLES: Final = 180
"""Samples that are kept; of a list that somebody has made longer, the last are read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A queue and its workers at one moment.

    Attributes:
        at_ms: When it was taken, in Unix milliseconds by Redis's clock.
        waiting: Jobs that were due and did not run.
        running: Jobs that ran.
        deferred: Jobs due later.
        oldest_wait_ms: Milliseconds the longest-waiting due job had waited; 0 when none waited.
        replicas: Workers asked for.
        ready: Workers that took jobs.
    """

    at_ms: int
    waiting: int
    running: int
    deferred: int
    oldest_wait_ms: int
    replicas: int
    ready: int


async def read(redis: Redis, queue: str, owner: str) -> list[Sample]:
    """What is kept of ``queue`` and the workers of ``owner``, oldest first; what is no sample is passed over."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.lrange(keys.history(queue, owner), -SAMPLES, -1)
    (lines,) = await answers(pipeline)
    return [sample for line in lines or () if (sample := _sample(line)) is not None]


def _sample(line: bytes) -> Sample | None:
    try:
        numbers = [int(each) for each in line.split()]
        return Sample(*numbers) if all(0 <= each <= MOST for each in numbers) else None
    except (TypeError, ValueError):
        return None
