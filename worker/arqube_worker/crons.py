"""Queues cron jobs ahead of their time, so that exactly one worker of the fleet runs each.

As arq's ``run_cron``: about a second ahead, under an id made of the name and the time, which only the first enqueues.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final
from uuid import uuid4

from arq.connections import ArqRedis
from arq.cron import CronJob
from arq.utils import to_unix_ms

from arqube_queue import keys
from arqube_queue.answers import invalid_if_odd

WINDOWS: Final = 2
"""How many intervals between two looks a run is queued ahead: one may be late."""


def next_runs(jobs: Sequence[CronJob]) -> dict[str, int]:
    """When each is due next, in Unix milliseconds; without those that are not planned yet."""
    return {job.name: to_unix_ms(job.next_run) for job in jobs if job.next_run is not None}


async def queue_due(
    redis: ArqRedis, queue: str, jobs: Sequence[CronJob], *, now_ms: int, timezone: tzinfo | None, interval_s: float
) -> None:
    """Plan the jobs' next runs and queue those that are due before the next look but one.

    Args:
        redis: Where the queue is.
        queue: Its name.
        jobs: The worker's cron jobs.
        now_ms: The present in Unix milliseconds.
        timezone: In which the jobs' times are meant; None for this machine's.
        interval_s: Seconds between two looks.

    Raises:
        redis.exceptions.RedisError, OSError: No answer; the runs that were not queued are queued by the next call.
    """
    now = datetime.fromtimestamp(now_ms / 1000, tz=timezone)
    horizon = now + timedelta(seconds=interval_s * WINDOWS)
    for job in jobs:
        if job.next_run is None:
            if not job.run_at_startup:
                job.calculate_next(now)
                continue
            job.next_run = now
        if job.next_run < horizon:
            await _queue(redis, queue, job, job.next_run)
            job.calculate_next(job.next_run)


async def _queue(redis: ArqRedis, queue: str, job: CronJob, due: datetime) -> None:
    job_id = job.job_id or (f"{job.name}:{to_unix_ms(due)}" if job.unique else None)
    with invalid_if_odd():
        # It may have run already, elsewhere, where the clock is ahead; its id is kept for a while to tell us so.
        if job_id is not None and await redis.exists(keys.IN_PROGRESS_PREFIX + job_id):
            return
        own_id = job_id or uuid4().hex
        queued = await redis.enqueue_job(job.name, _job_id=own_id, _queue_name=queue, _defer_until=due)
        if queued is None:
            # Not only when the id is taken: also when the connection was lost, which redis-py calls a changed key.
            prefixes = (keys.JOB_PREFIX, keys.IN_PROGRESS_PREFIX, keys.RESULT_PREFIX)
            if not await redis.exists(*(prefix + own_id for prefix in prefixes)):
                raise ConnectionError(f"the connection was lost when a run of {job.name} was to be queued")
