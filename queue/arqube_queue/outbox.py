"""What an outbox's relay does in Redis: it puts jobs into queues, each row of the outbox once, as arq's client would.

Each row has a token, and Redis remembers those of the rows it was given, until the relay has deleted the row. So a
relay that does not know whether a job was moved may move it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from arqube_queue import keys, payload_life, scripts

MEMORY_MS: Final = 30 * 86_400_000
"""How long the tokens of rows are remembered that nobody asked to forget: a relay was killed just before it did."""

_MOVE = scripts.load("outbox_move")


class Entry(NamedTuple):
    """A job to be moved.

    Attributes:
        token: Names the row of the outbox.
        job_id: arq's id of the job.
        queue: Where it goes.
        payload: The serialized job.
        due_ms: When it is due, in Unix milliseconds.
        expires_ms: Unix milliseconds after which it must not start; None where its producer has set no such time.
    """

    token: str
    job_id: str
    queue: str
    payload: bytes
    due_ms: int
    expires_ms: int | None


class Answer(NamedTuple):
    """What Redis says to a move.

    Attributes:
        now_ms: Its time, in Unix milliseconds.
        refusals: For each entry why it cannot be moved; empty where it was, now or before.
    """

    now_ms: int
    refusals: list[str]


class TooLateError(Exception):
    """Nothing was moved, as the entries were read too long ago: others may have moved and forgotten them since."""


async def move(redis: Redis, entries: Sequence[Entry], *, until_ms: int, life_ms: int) -> Answer:
    """Put the jobs into their queues, those that were before, and those whose id is taken there, excepted.

    Args:
        redis: Where the queues are.
        entries: The jobs, in order.
        until_ms: Redis's time in Unix milliseconds after which nothing may be moved any more.
        life_ms: How long payloads live beyond their due time by default.

    Raises:
        TooLateError: It is later than ``until_ms``.
    """
    flat: list[str | bytes | int] = [until_ms, keys.JOB_PREFIX, keys.RESULT_PREFIX, life_ms, payload_life.TOLERANCE_MS]
    for token, job_id, queue, payload, due_ms, expires_ms in entries:
        flat += (token, job_id, queue, payload, due_ms, "" if expires_ms is None else expires_ms)
    at, *refusals = await _MOVE(redis, [keys.OUTBOX_MOVED], flat)
    if not refusals:
        raise TooLateError
    return Answer(int(at), [_text(refusal) for refusal in refusals[0]])


async def remembered(redis: Redis, tokens: Sequence[str]) -> list[bool]:
    """For each token whether Redis knows that its row was moved."""
    async with redis.pipeline(transaction=False) as pipe:
        for token in tokens:
            pipe.zscore(keys.OUTBOX_MOVED, token)
        return [score is not None for score in await pipe.execute()]


async def forget(redis: Redis, tokens: Sequence[str]) -> None:
    """Forget the tokens of rows that are deleted, and are so in the database for good."""
    await redis.zrem(keys.OUTBOX_MOVED, *tokens)


async def forget_old(redis: Redis, *, now_ms: int) -> None:
    """Forget tokens that are as old as ``MEMORY_MS``; only where no row of such an age is left."""
    await redis.zremrangebyscore(keys.OUTBOX_MOVED, "-inf", now_ms - MEMORY_MS)


def _text(answer: Any) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
