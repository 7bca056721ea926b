"""What time it is for a queue: this machine's, unless Redis says that it is wrong."""

from __future__ import annotations

import time
from typing import Final

from arq.utils import timestamp_ms

TOLERANCE_MS: Final = 1000
"""How far this machine's clock may be off before Redis's counts, and how long an answer that tells it anew may take."""


class QueueClock:
    """The present in Unix milliseconds, by which jobs are due.

    As in arq it is that of this machine, as a rule. Redis tells its own time in each turn, and the monotonic clock goes
    on from there: a wall clock that is wrong, or jumps, neither defers a retry for as long nor hides a due job.
    """

    def __init__(self) -> None:
        self._ahead_ms: float | None = None
        self._doubt_ms = 0.0

    @property
    def is_set(self) -> bool:
        """Whether Redis has told the time."""
        return self._ahead_ms is not None

    def told(self, redis_ms: int, *, asked_at: float) -> None:
        """Note what Redis said of the time, asked at that second of the monotonic clock."""
        now = time.monotonic()
        took_ms = (now - asked_at) * 1000
        if took_ms <= TOLERANCE_MS or self._ahead_ms is None:
            self._ahead_ms, self._doubt_ms = redis_ms - now * 1000, took_ms

    def now_ms(self) -> int:
        """The present."""
        ours = timestamp_ms()
        if self._ahead_ms is None:
            return ours
        theirs = int(time.monotonic() * 1000 + self._ahead_ms)
        return ours if abs(ours - theirs) <= max(TOLERANCE_MS, self._doubt_ms) else theirs
