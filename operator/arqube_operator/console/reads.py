"""Reads of a queue's Redis for one page: a few at a time, each with an end, on connections of their own.

So a Redis that hangs holds up the page that asks for it, and neither the others nor the operator's own readings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from arqube_operator.decide.state import Problem
from arqube_queue.answers import ODD_ANSWERS
from arqube_queue.connection import RedisAddress

MOST: Final = 4
"""Pages that read from Redis at a time."""
TIMEOUT_S: Final = 5.0
"""Seconds that a page waits for its turn and its answer."""

T = TypeVar("T")


class Reads:
    """Whoever asks Redis for a page."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._turns = asyncio.Semaphore(MOST)
        self._timeout_s = timeout_s

    async def ask(self, address: RedisAddress | None, question: Callable[[Redis], Awaitable[T]]) -> T | Problem:
        """The answer to ``question``, or why there is none."""
        if address is None:
            return Problem("NotYetRead", "the operator does not know the queue's Redis yet")
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                client = address.connect(timeout_s=self._timeout_s)
                try:
                    return await question(client)
                finally:
                    await client.aclose()
        except TimeoutError:
            return Problem("RedisUnreachable", f"Redis at {address.label} did not answer within {self._timeout_s:g} s")
        except NoPermissionError as error:
            lacks = f"the operator's user of Redis at {address.label} lacks a right to look at jobs: {error}"
            return Problem("RedisPermissionDenied", lacks[:300])
        except ResponseError as error:
            return Problem("RedisError", f"Redis at {address.label} refuses: {error!s:.300}")
        except ODD_ANSWERS as error:
            return Problem("RedisError", f"Redis at {address.label} gives answers that are none: {error!r:.200}")
        except (RedisError, OSError) as error:
            text = str(error)[:300] or type(error).__name__
            return Problem("RedisUnreachable", f"Redis at {address.label} does not answer: {text}")
