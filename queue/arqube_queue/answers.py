"""Answers to pipelines of reads, in which a key of another type counts as one that is not there."""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import ResponseError

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
