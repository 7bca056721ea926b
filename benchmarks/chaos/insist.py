"""Requests of the suite's own to an API server that may be in trouble: made again until one goes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from arqube_operator.kube.client import ApiError

LONGEST_S: Final = 60.0
PAUSE_S: Final = 0.2

Answer = TypeVar("Answer")


async def insist(request: Callable[[], Awaitable[Answer]], *, settled: tuple[int, ...] = ()) -> Answer | None:
    """What ``request`` answers; None where it is refused with one of the statuses ``settled``, as 404 when deleting.

    Raises:
        ApiError: None went through for a long time.
    """
    deadline = time.monotonic() + LONGEST_S
    while True:
        try:
            return await request()
        except ApiError as error:
            if error.status in settled:
                return None
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(PAUSE_S)
