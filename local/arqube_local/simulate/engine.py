"""The clock of a simulation: events in the order of their times, and of their scheduling where times are equal."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any


class Engine:
    """Runs callables at simulated times, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0

    def at(self, time_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call ``action(*arguments)`` at ``time_s``, which is not in the past."""
        self._scheduled += 1
        heapq.heappush(self._events, (time_s, self._scheduled, action, arguments))

    def every(self, period_s: float, action: Callable[[], None], first_s: float = 0.0) -> None:
        """Call ``action()`` at ``first_s`` and each ``period_s`` seconds after it."""

        def repeat(count: int) -> None:
            action()
            # Multiplied, not added up: rounding must not let the phase drift.
            self.at(first_s + (count + 1) * period_s, repeat, count + 1)

        self.at(first_s, repeat, 0)

    def run(self, until_s: float = math.inf) -> None:
        """Run all events up to and including ``until_s``; the clock then stands there, or at the last event."""
        events, pop = self._events, heapq.heappop
        while events and events[0][0] <= until_s:
            self.now, _, action, arguments = pop(events)
            action(*arguments)
        if until_s < math.inf:
            self.now = until_s
