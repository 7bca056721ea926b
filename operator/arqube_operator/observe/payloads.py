"""Keeps the payloads of the jobs that wait at one Redis: a few queues a tick, so that no tick is late for it.

Workers do the same, but a queue that was held for a day may have none.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_operator.observe.cluster import Key
from arqube_queue.payload_life import keep_payloads

PAUSE_S: Final = 60.0
"""Pause between two looks at a queue: short beside the half day that payloads have left when they are kept."""

log = structlog.get_logger(__name__)


class PayloadKeeper:
    """Looks for payloads that are about to expire before their jobs ran; ``timeout_s`` holds for each look."""

    def __init__(self, client: Redis, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._turns: dict[Key, tuple[float, int]] = {}

    async def keep(self, waiting: Mapping[Key, str], now: float, *, tick_s: float) -> None:
        """Look at a page of each queue whose turn it is at ``now``, in seconds of a clock that never goes back.

        Args:
            waiting: The queues in which jobs wait, by name: only there can one be overdue.
            now: The present.
            tick_s: When it is called next: so many have their turn that all have it within ``PAUSE_S``.
        """
        self._turns = {key: self._turns.get(key, (now, 0)) for key in waiting}
        most = math.ceil(len(waiting) * tick_s / PAUSE_S)
        due = sorted((due, key) for key, (due, _) in self._turns.items() if due <= now)
        for _, key in due[:most]:
            rank = 0
            try:
                async with asyncio.timeout(self._timeout_s):
                    rank = await keep_payloads(self._client, waiting[key], first=self._turns[key][1])
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("payloads.not_kept", task_queue=str(key), error=str(error) or type(error).__name__)
            # Where there are more they are looked at as soon as the others have had their turn.
            self._turns[key] = (now + (tick_s if rank else PAUSE_S), rank)
