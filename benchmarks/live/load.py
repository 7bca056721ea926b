"""The jobs of the comparison: a seeded schedule, and both queues getting each job at the same moment."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass
from typing import Final

from arq.connections import ArqRedis

PHASES: Final = (
    (100.0, 1.0),
    (30.0, 8.0),
    (70.0, 1.0),
    (70.0, 0.0),
    (60.0, 4.0),
    (60.0, 0.0),
    (60.0, 4.0),
    (30.0, 0.0),
)
"""Seconds and jobs a second, in a run of 480 s: a low load with a spike, a pause, and twice on and off."""
WHOLE_S: Final = sum(seconds for seconds, _ in PHASES)
MEAN_S: Final = 3.0
LONG_S: Final = 90.0
LONG_SHARE: Final = 1 / 75


@dataclass(frozen=True, slots=True)
class Job:
    """A job that sleeps.

    Attributes:
        at_s: When it is enqueued, from the start of the load.
        seconds: How long it runs.
    """

    at_s: float
    seconds: float


def schedule(minutes: float, seed: int) -> list[Job]:
    """A Poisson process along the phases, stretched to ``minutes``; run times are exponential, and a few are long."""
    chance = random.Random(seed)  # noqa: S311 - any jobs, the same in every run
    jobs, begin_s = [], 0.0
    for phase_s, rate in PHASES:
        end_s = begin_s + phase_s * 60 * minutes / WHOLE_S
        at_s = begin_s
        while rate and (at_s := at_s + chance.expovariate(rate)) < end_s:
            seconds = LONG_S if chance.random() < LONG_SHARE else chance.expovariate(1 / MEAN_S)
            jobs.append(Job(at_s, seconds))
        begin_s = end_s
    return jobs


async def enqueue(arq: ArqRedis, queues: tuple[str, ...], jobs: list[Job], start_s: float, part: str) -> None:
    """Give each job to all queues at its time; ``start_s`` is the start by the monotonic clock.

    The queues take turns in getting it first. A job's id holds its queue, the ``part`` of the run, and its number.

    Raises:
        RuntimeError: Redis has a job of that id already.
    """
    orders = itertools.cycle(itertools.permutations(queues))
    for number, job in enumerate(jobs):
        await asyncio.sleep(start_s + job.at_s - time.monotonic())
        for queue in next(orders):
            name = f"{queue}-{part}-{number}"
            if await arq.enqueue_job("work", job.seconds, _queue_name=queue, _job_id=name) is None:
                raise RuntimeError(f"there is a job {name} in Redis already")
