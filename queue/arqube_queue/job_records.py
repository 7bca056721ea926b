"""What is known of a queue's jobs, by id and as lists: their state and their tries. Nothing is unpickled or scanned.

A job that has not ended is a member of arq's queue; its tries stand in the hash ``keys.open_jobs``. One that has ended
is a field of the hash ``keys.job_records`` and a member of ``keys.job_ends``: the last 10,000 of a queue, for 7 days.
Workers of ours write both in their turns (``arqube_queue.turns``). Of a job that a plain arq worker runs no try is
recorded: it is seen while it waits or runs, and is ``ended`` as long as arq keeps its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from redis.asyncio import Redis

from arqube_queue.job_tries import JobTry

KEPT: Final = 10_000
"""Ended jobs of a queue that are kept."""
LIFE_MS: Final = 7 * 86_400_000
"""How long an ended job is kept, in milliseconds."""
PAGE: Final = 100
"""Jobs read in one round trip, and given in a page unless told otherwise."""
LOOK: Final = 2_000
"""Jobs looked at for one page of those that match a filter."""
HEAD: Final = 1024
LONG_HEAD: Final = 65_536
"""Bytes of a payload that are read for a list, and for one job: the time of enqueueing stands behind the arguments."""


class JobState(str, Enum):
    """Where a job is."""

    DEFERRED = "deferred"
    """Due later: its producer or its last try wants it so."""
    WAITING = "waiting"
    """Due, and not taken by a worker yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """For good: it is a dead letter as long as that is kept."""
    CANCELLED = "cancelled"
    ENDED = "ended"
    """On a plain arq worker, so that only its result tells how."""

    def __str__(self) -> str:
        return self.value


ALIVE: Final = frozenset({JobState.DEFERRED, JobState.WAITING, JobState.RUNNING})
"""Of jobs that have not ended."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job at one moment. Times are Unix milliseconds.

    Attributes:
        job_id: arq's id of the job.
        state: Where it is.
        function: Name of the function; None when it cannot be told.
        enqueued_ms: When it was enqueued, by the producer's clock; None when it cannot be told.
        due_ms: When it is or was due; None once it has ended, and for one that is moved to the front to be cancelled.
        ended_ms: When it ended, by Redis's clock; None before, and where no worker of ours has ended it.
        outcome: How it ended, as workers count it: ``succeeded``, ``failed``, ``aborted``, ``expired``,
            ``undecodable``, ``unknown_function`` or ``tries_exhausted``; None before, and where that is not known.
        error: The last error; empty when there was none.
        tries: Its starts by workers of ours, oldest first: the last ``job_tries.MOST_TRIES``.
        tried: How many tries have counted so far, those of plain arq's workers included.
        cancelling: Somebody has asked to cancel it, and it has not ended.
        dead_letter: It can be looked at, and run again, as a dead letter.
    """

    job_id: str
    state: JobState
    function: str | None = None
    enqueued_ms: int | None = None
    due_ms: int | None = None
    ended_ms: int | None = None
    outcome: str | None = None
    error: str = ""
    tries: tuple[JobTry, ...] = ()
    tried: int = 0
    cancelling: bool = False
    dead_letter: bool = False

    @property
    def started_ms(self) -> int | None:
        """When its last try started; None when none has, or none is recorded."""
        return self.tries[-1].started_ms if self.tries else None

    @property
    def retrying(self) -> bool:
        """Whether it waits for another try."""
        return self.state in (JobState.DEFERRED, JobState.WAITING) and (self.tried > 0 or bool(self.tries))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant: those that satisfy all of it.

    Attributes:
        states: The states; empty for all.
        function: Name of the function.
    """

    states: frozenset[JobState] = frozenset()
    function: str | None = None

    def matches(self, job: JobRecord) -> bool:
        """Whether ``job`` is meant."""
        return (not self.states or job.state in self.states) and self.function in (None, job.function)

    @property
    def alive(self) -> bool:
        """Whether jobs that have not ended may be meant."""
        return not self.states or bool(self.states & ALIVE)

    @property
    def over(self) -> bool:
        """Whether jobs that have ended may be meant."""
        return not self.states or bool(self.states - ALIVE)


ALL: Final = JobFilter()


class Cursor(NamedTuple):
    """Where a page ended; ``str`` of it and ``parse`` take it through an URL.

    Attributes:
        alive: Whether that is among the jobs that have not ended, or among the others.
        score: The last one's due time or end.
        seen: How many of that very time were seen.
    """

    alive: bool
    score: float
    seen: int

    def __str__(self) -> str:
        return f"{'alive' if self.alive else 'over'}:{self.score!r}:{self.seen}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor of which ``text`` is the ``str``.

        Raises:
            ValueError: ``text`` is not that of a cursor.
        """
        part, _, rest = text.partition(":")
        score, _, seen = rest.partition(":")
        if part not in ("alive", "over") or not seen.isdecimal():
            raise ValueError(f"{text[:100]!r} is not a cursor that a list of jobs has given")
        return cls(part == "alive", float(score), int(seen))


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs that were read together.

    Attributes:
        jobs: Those that match, in order.
        cursor: Where the next page begins; None when this was the last. A page may be short of what was asked for, as
            a bounded number of jobs is looked at.
    """

    jobs: tuple[JobRecord, ...]
    cursor: Cursor | None


_FIRST_ALIVE: Final = Cursor(True, float("-inf"), 0)
_FIRST_OVER: Final = Cursor(False, float("inf"), 0)


async def read_job(redis: Redis, queue: str, job_id: str) -> JobRecord | None:
    """One job of ``queue``; None when nothing is known of it: it never was, or it was long ago.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused.
    """
    raise NotImplementedError


async def list_jobs(
    redis: Redis, queue: str, chosen: JobFilter = ALL, *, after: Cursor | None = None, limit: int = PAGE
) -> JobPage:
    """Up to ``limit`` jobs that match: those alive in the order of their due times, then ended ones, newest first.

    Jobs that come, go or move on meanwhile may be missed or seen twice.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        chosen: Which.
        after: The cursor of the page before.
        limit: Most jobs of the page.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused.
    """
    raise NotImplementedError
