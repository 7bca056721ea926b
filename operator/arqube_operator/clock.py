"""Unix time, and how often it was set: what is remembered of times before that must not be reckoned with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

JUMP_S: Final = 5.0
"""Seconds by which the time must change at once to count as set; less does no harm, and clocks are always trimmed."""


class Clock:
    """Unix time by ``wall``, watched by ``steady``, a monotonic clock; both in seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._jumps = 0

    def now(self) -> float:
        """Unix seconds."""
        return self._wall()

    def jumps(self) -> int:
        """How often the time was set ahead or back, as far as this was asked; a machine that slept has jumped, too."""
        before, self._offset = self._offset, self._wall() - self._steady()
        if abs(self._offset - before) > JUMP_S:
            self._jumps += 1
        return self._jumps
