"""Which keys to reconcile next: each at most once at a time, again with growing pauses while it fails.

The same contract as the work queue of Kubernetes' client-go: a key added while it is worked on is worked on again. News
goes before routine, so that a burst need not wait for the readings of all other queues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0


K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A queue of keys for several workers in one event loop."""

    def __init__(self) -> None:
        self._ready: asyncio.PriorityQueue[tuple[bool, int, K]] = asyncio.PriorityQueue()
        self._added = count()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._held: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K, *, now: bool = False, routine: bool = False) -> None:
        """Have ``key`` worked on soon; while it fails, when its pause is over, or at once if ``now``.

        What is ``routine`` waits until nothing else does.
        """
        if now:
            self.forget(key)
        if key in self._dirty or key in self._held:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._ready.put_nowait((routine, next(self._added), key))

    async def get(self) -> K:
        """The next key; ``done`` or ``failed`` must follow."""
        _, _, key = await self._ready.get()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """``key`` was worked on without a failure."""
        self._failures.pop(key, None)
        self._working.discard(key)
        if key in self._dirty:
            self._ready.put_nowait((True, next(self._added), key))

    def failed(self, key: K, pause_s: float | None = None) -> float:
        """``key`` failed and is added again after a pause, at least ``pause_s`` seconds; the pause is returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = max(pause_s or 0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16)))
        self._working.discard(key)
        self._dirty.discard(key)
        if (held := self._held.pop(key, None)) is not None:
            held.cancel()
        self._held[key] = asyncio.get_running_loop().call_later(pause, self._release, key)
        return pause

    def forget(self, key: K) -> None:
        """Drop what is known of the failures of ``key``, and the pause it is in."""
        self._failures.pop(key, None)
        if (held := self._held.pop(key, None)) is not None:
            held.cancel()

    def _release(self, key: K) -> None:
        self._held.pop(key, None)
        self.add(key)
