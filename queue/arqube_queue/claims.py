"""Taking jobs from a queue and giving them back, each in one script, so that plain arq workers may share the queue.

The protocol is arq 0.28's (``arq/worker.py``): a job runs while ``arq:in-progress:<id>`` exists, whatever its value,
and its member stays in the queue until it is finished. The value we write is a token that names the claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from arqube_queue import keys, scripts

PAGE: Final = 100
"""Members looked at in one step of the script."""
RETRY_LIFE_S: Final = 88_400
"""How long arq keeps a job's count of tries, in seconds (``arq/worker.py``, ``run_job``)."""

_CLAIM = scripts.load("claim")
_HAND_BACK = scripts.load("hand_back")


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that is ours until its lease ends.

    Attributes:
        job_id: arq's id of the job.
        score: When it was due, in Unix milliseconds; 1 when arq moved it to the front to abort it.
        tries: How often it was started before this claim.
        token: The claim under which it is leased.
    """

    job_id: str
    score: int
    tries: int
    token: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought, and when the next deferred job is due in Unix milliseconds (None when none is)."""

    jobs: tuple[ClaimedJob, ...]
    next_due_ms: int | None


async def claim(redis: Redis, queue: str, *, token: str, now_ms: int, lease_ms: int, limit: int) -> Claim:
    """Lease up to ``limit`` jobs that are due at ``now_ms`` and run nowhere, earliest first.

    A token must be new for each claim, and kept for a claim that is repeated because its answer got lost: the jobs
    which that one leased are then handed out again instead of staying hidden until their lease ends.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        token: Names this claim; the value of the in-progress keys.
        now_ms: The present in Unix milliseconds; the caller's, as arq takes the worker's clock too.
        lease_ms: How long the jobs stay ours, in milliseconds.
        limit: Free slots.

    Raises:
        redis.exceptions.RedisError: The server did not answer, or refused; the claim may have happened nevertheless.
    """
    arguments: list[str | bytes | int] = [now_ms, token, lease_ms, limit, PAGE]
    arguments += [keys.IN_PROGRESS_PREFIX, keys.RETRY_PREFIX]
    claimed, next_due = await _CLAIM(redis, [queue], arguments)
    jobs = tuple(
        ClaimedJob(job_id.decode(), int(float(score)), int(tries), token)
        for job_id, score, tries in zip(claimed[::3], claimed[1::3], claimed[2::3], strict=True)
    )
    next_due_ms = int(float(next_due))
    return Claim(jobs, next_due_ms if next_due_ms >= 0 else None)


async def is_leased(redis: Redis, job: ClaimedJob) -> bool:
    """Whether the job is still ours under its claim."""
    return bool(await redis.get(keys.IN_PROGRESS_PREFIX + job.job_id) == job.token.encode())


async def hand_back(redis: Redis, job: ClaimedJob) -> bool:
    """Give a job back as it was before its claim: claimable at once, its tries as they were.

    Returns:
        False when the job is no longer leased under its claim; nothing is changed then.
    """
    owned: list[str] = [keys.IN_PROGRESS_PREFIX + job.job_id, keys.RETRY_PREFIX + job.job_id]
    return bool(await _HAND_BACK(redis, owned, [job.token, job.tries, RETRY_LIFE_S]))
