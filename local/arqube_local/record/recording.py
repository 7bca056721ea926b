"""What was seen of each job, made into arrivals: no I/O, the times passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from arqube_queue.model import Heartbeat
from arqube_worker.runs import Outcome

TOLD_WITHIN_MS: Final = 1000
"""A due time so little before a job was first seen is when it was enqueued: arq makes it the due time of such jobs."""
ROUNDING_MS: Final = 1.0
"""Due times are whole milliseconds, so that of a job enqueued to run at once may lie beyond its first sight."""
MOST_AT_ONCE: Final = 1_000_000
"""Runs that a worker may have ended since the last look: whoever tells of more is none of ours."""
_ENDS: Final = frozenset(each.value for each in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABORTED, Outcome.EXPIRED))
"""Outcomes after which a job is not queued again."""


@dataclass(frozen=True, slots=True)
class Look:
    """A job at one moment: its due time in Unix milliseconds, None where it is not in the queue; whether it runs."""

    job_id: bytes
    due_ms: float | None
    running: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job of the recording, in milliseconds from its start; None where not known, and for ``due_ms`` at once."""

    at_ms: float
    due_ms: float | None = None
    run_ms: float | None = None


@dataclass(slots=True)
class _Job:
    at_ms: float
    due_ms: float | None
    recorded: bool = True
    ran_ms: float = 0.0
    began_ms: float | None = None
    seen_running: bool = False
    broken: bool = False
    """It was out of sight for a while, so how long it ran is not known."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The workers' counters at one moment: jobs ended for good and all runs ended, with the seconds these took."""

    at_ms: float
    ended: int = 0
    runs: int = 0
    run_s: float = 0.0


class Recording:
    """Follows jobs from their first sight to their end; times are Unix milliseconds by Redis's clock.

    Args:
        start_ms: When the recording began.

    Attributes:
        arrived: Jobs recorded so far.
        estimated: Those of them that only the workers told of.
    """

    def __init__(self, start_ms: float) -> None:
        self.arrived = 0
        self.estimated = 0
        self._start_ms = start_ms
        self._before_ms = start_ms
        self._jobs: dict[bytes, _Job] = {}
        self._ended = 0
        self._workers: dict[str, tuple[int, int, float] | None] | None = None
        self._told = _Told(start_ms)

    @property
    def open(self) -> int:
        """Recorded jobs that have not ended."""
        return sum(job.recorded for job in self._jobs.values())

    def begin(self, looks: Iterable[Look]) -> None:
        """What is in the queue at the start: jobs that run are not of this recording, all others arrive at 0."""
        for look in looks:
            due_ms = look.due_ms if look.due_ms is not None and look.due_ms > self._start_ms else None
            self._jobs[look.job_id] = _Job(self._start_ms, due_ms, recorded=not look.running)
            self.arrived += not look.running

    def look(self, looks: Iterable[Look], at_ms: float) -> Iterator[Arrival]:
        """Take in how touched jobs are at ``at_ms``; yields those that have ended."""
        for look in looks:
            job = self._jobs.get(look.job_id)
            if look.due_ms is None:
                if job is not None:
                    del self._jobs[look.job_id]
                    self._ended += 1
                    self._run(job, False, at_ms)
                    if job.recorded:
                        yield self._arrival(job, ended=True)
                continue
            if job is None:
                job = self._jobs[look.job_id] = self._first_sight(look.due_ms, at_ms)
                self.arrived += 1
            self._run(job, look.running, at_ms)
        self._before_ms = at_ms

    def resume(self, looks: Iterable[Look], at_ms: float) -> Iterator[Arrival]:
        """Take in the whole queue after a time without sight; yields the jobs that ended meanwhile."""
        present = list(looks)
        for job in self._jobs.values():
            job.broken = True
        gone = self._jobs.keys() - {look.job_id for look in present}
        yield from self.look([*present, *(Look(job_id, None, False) for job_id in gone)], at_ms)

    def count(self, heartbeats: Iterable[Heartbeat], at_ms: float) -> list[Arrival]:
        """Compare with the workers' counters: jobs that came and went between two looks.

        What was seen to end until now is compared with what the workers had told a call before: heartbeats may be ahead
        of what we saw.
        """
        self._before_ms = at_ms
        told = self._sum(heartbeats, at_ms)
        before, self._told = self._told, told
        missed = before.ended - self._ended - self.estimated
        if missed <= 0:
            return []
        self.estimated += missed
        self.arrived += missed
        runs = told.runs or 1
        length_ms = told.at_ms - before.at_ms
        run_ms = told.run_s * 1000 / runs
        return [
            Arrival(
                max(0.0, before.at_ms - self._start_ms - length_ms * (1 - (index + 0.5) / missed)),
                run_ms=run_ms,
            )
            for index in range(missed)
        ]

    def end(self) -> Iterator[Arrival]:
        """The jobs that have not ended: how long they run is not known."""
        for job in self._jobs.values():
            if job.recorded:
                yield self._arrival(job, ended=False)
        self._jobs.clear()

    def _first_sight(self, due_ms: float, at_ms: float) -> _Job:
        if due_ms > at_ms + ROUNDING_MS:
            return _Job(at_ms, due_ms)
        # Enqueued to run at once: its due time is when that was, unless it was dated back.
        return _Job(due_ms if due_ms >= self._before_ms - TOLD_WITHIN_MS else at_ms, None)

    def _run(self, job: _Job, running: bool, at_ms: float) -> None:
        if running and job.began_ms is None:
            job.began_ms, job.seen_running = at_ms, True
        elif not running and job.began_ms is not None:
            job.ran_ms += at_ms - job.began_ms
            job.began_ms = None

    def _arrival(self, job: _Job, *, ended: bool) -> Arrival:
        known = ended and job.seen_running and not job.broken
        return Arrival(
            max(0.0, job.at_ms - self._start_ms),
            None if job.due_ms is None else max(0.0, job.due_ms - self._start_ms),
            job.ran_ms if known else None,
        )

    def _sum(self, heartbeats: Iterable[Heartbeat], at_ms: float) -> _Told:
        """The counters since the recording began; a worker that begins later counts from its beginning.

        One that was there counts from its first heartbeat after the start: what it told last before is older.
        """
        beats = list(heartbeats)
        if self._workers is None:
            self._workers = {beat.worker: None for beat in beats}
        ended, runs, run_s = self._told.ended, self._told.runs, self._told.run_s
        for beat in beats:
            now = (
                sum(count for outcome, count in beat.finished.items() if outcome in _ENDS),
                sum(beat.finished.values()),
                beat.run_seconds,
            )
            was = self._workers.get(beat.worker, (0, 0, 0.0))
            if was is None:
                if beat.at_ms >= self._start_ms:
                    self._workers[beat.worker] = now
                continue
            if now[1] < was[1]:  # it began anew under the same name
                was = (0, 0, 0.0)
            if now[1] - was[1] > MOST_AT_ONCE:
                was = now
            ended += max(0, now[0] - was[0])
            runs += now[1] - was[1]
            run_s += max(0.0, now[2] - was[2])
            # Kept also when it falls silent: it is not taken for a new one when it is back.
            self._workers[beat.worker] = now
        return _Told(at_ms, ended, runs, run_s)
