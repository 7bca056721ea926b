"""Which keys to reconcile next: each at most once at a time, again with growing pauses while it fails.

The same contract as the work queue of Kubernetes' client-go: a key added while it is worked on is worked on again.
There are two lanes with workers of their own, so that what is urgent need not wait for the routine of all other keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0


K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A queue of keys for several workers in one event loop."""

    def __init__(self) -> None:
        self._lanes: dict[bool, asyncio.Queue[K]] = {False: asyncio.Queue(), True: asyncio.Queue()}
        self._dirty: dict[K, bool] = {}
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._held: dict[K, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Keys that wait to be worked on."""
        return len(self._dirty)

    def add(self, key: K, *, now: bool = False, urgent: bool = False) -> None:
        """Have ``key`` worked on soon; while it fails, when its pause is over, or at once if ``now``."""
        if now:
            self.forget(key)
        if key in self._held or self._dirty.get(key, False) or (key in self._dirty and not urgent):
            return
        self._dirty[key] = urgent
        if key not in self._working:
            self._lanes[urgent].put_nowait(key)

    async def get(self, *, urgent: bool = False) -> K:
        """The next key of a lane; ``done`` or ``failed`` must follow."""
        while True:
            key = await self._lanes[urgent].get()
            # One that became urgent while it waited still stands in its old lane.
            if self._dirty.get(key) == urgent and key not in self._working:
                del self._dirty[key]
                self._working.add(key)
                return key

    def done(self, key: K) -> None:
        """``key`` was worked on without a failure."""
        self._failures.pop(key, None)
        self._working.discard(key)
        if key in self._dirty:
            self._lanes[self._dirty[key]].put_nowait(key)

    def failed(self, key: K, pause_s: float | None = None) -> float:
        """``key`` failed and is added again after a pause, at least ``pause_s`` seconds; the pause is returned.

        No pause is longer than ``LONGEST_PAUSE_S``, whatever a server asks for: jobs wait meanwhile.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(LONGEST_PAUSE_S, max(pause_s or 0.0, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16)))
        self._working.discard(key)
        self._dirty.pop(key, None)
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
