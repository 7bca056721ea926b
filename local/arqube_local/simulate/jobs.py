"""Jobs and the queue they wait in: a sorted set by due time, as arq keeps it in Redis."""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that will be enqueued.

    Attributes:
        at_s: When it is enqueued, in seconds from the start.
        due_s: When it may start; not before ``at_s``.
        run_s: How long it runs.
    """

    at_s: float
    due_s: float
    run_s: float


@dataclass(eq=False, slots=True)
class Job:
    """A job in the queue.

    Attributes:
        number: Tells jobs apart; given in the order of arrival.
        due_s: When it may start.
        run_s: How long it runs when it is not cut.
        started_s: When it first started; None before.
        interrupted: How often it was cut.
    """

    number: int
    due_s: float
    run_s: float
    started_s: float | None = None
    interrupted: int = 0


class JobQueue:
    """Jobs that are enqueued and have not ended."""

    def __init__(self) -> None:
        self.running = 0
        self._waiting: list[tuple[float, int, Job]] = []
        self._deferred: list[float] = []

    @property
    def waiting(self) -> int:
        """Jobs that are due and do not run."""
        return len(self._waiting)

    @property
    def deferred(self) -> int:
        """Jobs that are due later."""
        return len(self._deferred)

    @property
    def members(self) -> int:
        """What ZCARD answers: arq takes a job out of the sorted set when it has ended."""
        return len(self._waiting) + self.running + len(self._deferred)

    def defer(self, job: Job) -> None:
        """Add a job that is due later."""
        insort(self._deferred, job.due_s)

    def fall_due(self) -> None:
        """Take the first deferred job out: its time has come."""
        del self._deferred[0]

    def push(self, job: Job) -> None:
        """Add a job that is due, also one that was cut."""
        heapq.heappush(self._waiting, (job.due_s, job.number, job))

    def pop(self) -> Job:
        """Take the job that has been due for the longest time."""
        return heapq.heappop(self._waiting)[2]

    def waiting_jobs(self) -> tuple[Job, ...]:
        """All that wait, in no order."""
        return tuple(job for _, _, job in self._waiting)

    def oldest_wait_s(self, now: float) -> float:
        """Seconds that the longest-waiting job has been due; 0 when none waits."""
        return max(0.0, now - self._waiting[0][0]) if self._waiting else 0.0

    def due_soon(self, now: float, horizon_s: float) -> int:
        """Deferred jobs that are due within ``horizon_s`` seconds."""
        return bisect_right(self._deferred, now + horizon_s)

    def next_due_s(self, now: float) -> float | None:
        """Seconds until the first deferred job is due; None when none is deferred."""
        return max(0.0, self._deferred[0] - now) if self._deferred else None
