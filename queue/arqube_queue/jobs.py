"""What people do to a job: cancel it, or run it again."""

from __future__ import annotations

from enum import Enum

from redis.asyncio import Redis

from arqube_queue import dead_letters, keys, scripts
from arqube_queue.dead_letters import Outcome

_CANCEL = scripts.load("cancel")


class CancelOutcome(str, Enum):
    """What became of the wish to cancel a job."""

    RUNNING = "running"
    """It runs, and its worker is asked to cancel it."""
    WAITING = "waiting"
    """It stands at the front of the queue, where the next free worker ends it without running it."""
    ENDED = "ended"
    """It was over already."""
    MISSING = "missing"
    """Nothing is known of it."""


async def cancel(redis: Redis, queue: str, job_id: str) -> CancelOutcome:
    """Ask to cancel a job, as arq's ``Job.abort`` does. Workers whose settings have ``allow_abort_jobs`` heed it.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused.
    """
    names = [queue, keys.ABORT, keys.job_records(queue), keys.dead_letters(queue)]
    arguments: list[str | bytes | int] = [job_id, keys.IN_PROGRESS_PREFIX, keys.RESULT_PREFIX]
    return CancelOutcome((await _CANCEL(redis, names, arguments)).decode())


async def retry(redis: Redis, queue: str, job_id: str) -> Outcome:
    """Put a job that has failed for good back into the queue, due now, with all its tries: its dead letter's ``retry``.

    A job that has succeeded or was cancelled has no payload any more, and is ``MISSING``.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused.
    """
    return (await dead_letters.retry(redis, queue, [job_id]))[job_id]
