"""The books of a run, outside Redis: what producer and workers note line by line in files, and how it is read back.

Each process appends to a file of its own, a line or several in one write, so a kill -9 cuts no line. Times are seconds
of this machine's monotonic clock, which all processes share and nobody sets.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PRODUCER: Final = "producer"
WORKER: Final = "worker"

PLANNED: Final = "P"
"""The producer is about to enqueue the job; followed by its payload's digest."""
ACKNOWLEDGED: Final = "A"
"""Redis has the job for good."""
CANCELLED: Final = "K"
"""The producer is about to ask for its cancellation."""
STARTED: Final = "S"
"""Its code began; followed by the number of its try."""
RETURNED: Final = "E"
"""Its code came to its end."""
RAISED: Final = "X"
"""Its code raised."""
FINISHED: Final = "finish"
"""Redis has told the worker that the job is over."""
BURIED: Final = "bury"
"""Redis has told the worker that it is a dead letter."""
REQUEUED: Final = "requeue"
"""Redis has told the worker that it is to run again."""


def digest(payload: bytes) -> str:
    """Names a payload."""
    return hashlib.blake2b(payload, digest_size=12).hexdigest()


class Book:
    """What one process notes."""

    def __init__(self, folder: Path, whose: str) -> None:
        self._file = os.open(folder / f"{os.getpid()}.{whose}", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def note(self, what: str, job: str, detail: object = "-") -> None:
        """One line."""
        os.write(self._file, f"{what} {time.monotonic():.6f} {job} {detail}\n".encode())

    def note_all(self, what: str, jobs: Iterable[tuple[str, str]]) -> None:
        """A line for each job, in one write."""
        now = f"{time.monotonic():.6f}"
        os.write(self._file, "".join(f"{what} {now} {job} {detail}\n" for job, detail in jobs).encode())


@dataclass(slots=True)
class Run:
    """One run of a job.

    Attributes:
        pid: The worker's process id.
        attempt: The number of the try, as the job was told.
        began: When its code began.
        raised: Whether its code raised; None when it did not come to its end.
        told: What Redis has confirmed: ``FINISHED``, ``BURIED`` or ``REQUEUED``; None for nothing.
        told_at: When.
    """

    pid: int
    attempt: int
    began: float
    raised: bool | None = None
    told: str | None = None
    told_at: float = 0.0


@dataclass(slots=True)
class Job:
    """What is known of a job.

    Attributes:
        planned_at: When the producer first tried to enqueue it; None for a cron's run.
        payload: The digest of its payload.
        acknowledged: Redis confirmed it.
        cancelled: We asked to cancel it.
        runs: Its runs, in the order in which they began.
        ends: When, and as what, Redis confirmed its end, whether it ever ran or not.
    """

    planned_at: float | None = None
    payload: str = ""
    acknowledged: bool = False
    cancelled: bool = False
    runs: list[Run] = field(default_factory=list)
    ends: list[tuple[float, str]] = field(default_factory=list)


def read(folder: Path) -> dict[str, Job]:
    """The jobs by their ids, from all books in ``folder``."""
    jobs: defaultdict[str, Job] = defaultdict(Job)
    for path in sorted(folder.iterdir()):
        pid, whose = path.name.split(".")
        lines = path.read_text().splitlines()
        if whose == PRODUCER:
            _read_producer(jobs, lines)
        else:
            _read_worker(jobs, lines, int(pid))
    for job in jobs.values():
        job.runs.sort(key=lambda run: run.began)
        job.ends.sort()
    return dict(jobs)


def _read_producer(jobs: Mapping[str, Job], lines: Iterable[str]) -> None:
    for line in lines:
        what, at, job_id, detail = line.split()
        job = jobs[job_id]
        if what == PLANNED:
            job.planned_at, job.payload = float(at), detail
        elif what == ACKNOWLEDGED:
            job.acknowledged = True
        elif what == CANCELLED:
            job.cancelled = True


def _read_worker(jobs: Mapping[str, Job], lines: Iterable[str], pid: int) -> None:
    latest: dict[str, Run] = {}
    for line in lines:
        what, at, job_id, detail = line.split()
        job = jobs[job_id]
        if what == STARTED:
            latest[job_id] = run = Run(pid, int(detail), float(at))
            job.runs.append(run)
        elif what in (RETURNED, RAISED):
            latest[job_id].raised = what == RAISED
        else:
            # An end without a run before it is that of a try which was refused.
            if job_id in latest and latest[job_id].told is None:
                run = latest[job_id]
                run.told, run.told_at = what, float(at)
            if what != REQUEUED:
                job.ends.append((float(at), what))
