"""Answers of Redis as what they are to be; whatever else listens in its place may answer anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, ResponseError

ODD_ANSWERS: Final = (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError)
"""What redis-py and our readers raise over an answer of another shape than Redis's: something else listens there."""
_WRONG_TYPE: Final = "WRONGTYPE"


async def answers(pipeline: Any) -> list[Any]:
    """The answers to a pipeline; None for what a key of another type holds, which is of no queue's making.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused.
    """
    found: list[Any] = await pipeline.execute(raise_on_error=False)
    for number, answer in enumerate(found):
        if isinstance(answer, ResponseError) and str(answer).startswith(_WRONG_TYPE):
            found[number] = None
        elif isinstance(answer, Exception):
            raise answer
    return found


def count(answer: Any) -> int:
    """A script's answer that counts something.

    Raises:
        redis.exceptions.InvalidResponse: It is no number.
    """
    if not isinstance(answer, int):
        raise InvalidResponse(f"this is no count: {type(answer).__name__}")
    return answer


@contextmanager
def invalid_if_odd() -> Iterator[None]:
    """Where Redis is asked: let what is raised over an odd answer be an error of Redis.

    Raises:
        redis.exceptions.InvalidResponse: The answer was odd.
    """
    try:
        yield
    except ODD_ANSWERS as error:
        raise InvalidResponse(f"this is no answer of Redis: {error}") from error


async def now_ms(redis: Redis) -> int:
    """The present in Unix milliseconds by Redis's clock.

    Raises:
        redis.exceptions.RedisError, OSError: No answer, or one that is no time.
    """
    with invalid_if_odd():
        seconds, microseconds = await redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000
