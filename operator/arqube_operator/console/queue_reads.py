"""What a page asks of a queue's Redis: bounded reads, none of which loads a payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from arqube_operator.console.plot import Line, lines
from arqube_queue import dead_letters, history, job_records
from arqube_queue.dead_letters import Cursor, DeadLetter, Filter, Page, Remains
from arqube_queue.job_records import ALIVE, JobFilter, JobRecord, JobState

ALIVE_LOOKED_AT: Final = 100
"""Jobs, the first due first, among which those that run are shown: workers take jobs in that order."""
RUNNING_SHOWN: Final = 10
RECENT_SHOWN: Final = 10
LETTERS_SHOWN: Final = 5
"""Dead letters on a queue's own page."""
LETTERS_PAGE: Final = 50
MOST_LOOKS: Final = 10
"""Pages of letters that are looked at for one page of those that match a filter."""

_OVER: Final = frozenset(JobState) - ALIVE


@dataclass(frozen=True, slots=True)
class Work:
    """What a queue's own page shows of its jobs.

    Attributes:
        lines: The last minutes, drawn.
        running: Jobs that run, the first due first: not all where there are many.
        recent: Jobs that have ended, newest first.
        letters: The newest dead letters.
    """

    lines: tuple[Line, ...]
    running: tuple[JobRecord, ...]
    recent: tuple[JobRecord, ...]
    letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """All that is known of one job: its record, and what remains of it as a dead letter; at least one of them."""

    record: JobRecord | None
    remains: Remains | None


async def read_work(redis: Redis, queue: str, owner: str, now_ms: int) -> Work:
    """What is shown of ``queue`` and of the workers that the TaskQueue with the uid ``owner`` runs for it."""
    # Not asked for those that run alone: to find none, thousands that wait would be looked at.
    alive = await job_records.list_jobs(redis, queue, JobFilter(ALIVE), limit=ALIVE_LOOKED_AT)
    running = [job for job in alive.jobs if job.state is JobState.RUNNING]
    recent = await job_records.list_jobs(redis, queue, JobFilter(_OVER), limit=RECENT_SHOWN)
    letters = await dead_letters.read_page(redis, queue, limit=LETTERS_SHOWN)
    samples = await history.read(redis, queue, owner)
    return Work(lines(samples, now_ms), tuple(running[:RUNNING_SHOWN]), recent.jobs, letters.letters)


async def read_letters(redis: Redis, queue: str, chosen: Filter, after: Cursor | None) -> Page:
    """A page of the dead letters that match, newest first; it may be short where many do not."""
    found: list[DeadLetter] = []
    seen = 0
    for _ in range(MOST_LOOKS):
        page = await dead_letters.read_page(redis, queue, chosen, after=after, limit=LETTERS_PAGE)
        found += page.letters
        seen += page.seen
        after = page.cursor
        if after is None or len(found) >= LETTERS_PAGE:
            break
    return Page(tuple(found), seen, after)


async def read_job(redis: Redis, queue: str, job_id: str) -> Job | None:
    """One job; None when nothing is known of it."""
    record = await job_records.read_job(redis, queue, job_id)
    remains = await dead_letters.read(redis, queue, job_id)
    return None if record is None and remains is None else Job(record, remains)
