"""What is known of a queue's jobs, by id and as lists: their state and their tries. Nothing is unpickled or scanned.

A job that has not ended is a member of arq's queue; its tries stand in the hash ``keys.open_jobs``. One that has ended
is a field of the hash ``keys.job_records`` and a member of ``keys.job_ends``: the last 10,000 of a queue, for 7 days.
Workers of ours write both in their turns (``arqube_queue.turns``). Of a job that a plain arq worker runs no try is
recorded: it is seen while it waits or runs, and is ``ended`` as long as arq keeps its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from arqube_queue import dead_letters, job_tries, keys
from arqube_queue.answers import answers
from arqube_queue.job_tries import JobTry
from arqube_queue.payload import MOST, read_header, read_queue

KEPT: Final = 10_000
"""Ended jobs of a queue that are kept."""
LIFE_MS: Final = 7 * 86_400_000
"""How long an ended job is kept, in milliseconds."""
PAGE: Final = 100
"""Jobs read in one round trip, and given in a page unless told otherwise."""
LOOK: Final = 2_000
"""Jobs looked at for one page of those that match a filter."""
ROUNDING_MS: Final = 1
"""arq's clients round the present, maybe up: a job that is due at once is due by now."""
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
        error: What went wrong last; empty when nothing did, or the job has succeeded since.
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
    pipeline = redis.pipeline(transaction=True)
    pipeline.time()
    pipeline.zscore(queue, job_id)
    pipeline.hget(keys.job_records(queue), job_id)
    pipeline.zscore(keys.job_ends(queue), job_id)
    pipeline.zscore(keys.dead_letters(queue), job_id)
    pipeline.getrange(keys.RESULT_PREFIX + job_id, 0, LONG_HEAD - 1)
    _ask_alive(pipeline, queue, job_id, LONG_HEAD)
    now, due, record, ended, died, result, *alive = await answers(pipeline)
    if due is not None:
        return _alive(job_id, due, _ms(now), *alive)
    if record is not None:
        return _over(job_id, record, ended, dead_letter=died is not None)
    remains = await dead_letters.read(redis, queue, job_id) if died is not None else None
    if remains is not None:
        return _dead(remains.letter)
    open_tries = alive[2]
    if open_tries is not None or (result and read_queue(result) in (None, queue)):
        # A plain arq worker has ended it; results of all queues are kept under the same names.
        return _over(job_id, open_tries or b"", None, dead_letter=False)
    return None


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
    found: list[JobRecord] = []
    looked = 0
    cursor = after or (_FIRST_ALIVE if chosen.alive else _FIRST_OVER)
    while True:
        count = min(PAGE, limit - len(found)) if chosen == ALL else PAGE
        rows = await (_page_alive if cursor.alive else _page_over)(redis, queue, cursor, count)
        looked += len(rows)
        for score, job in rows:
            cursor = Cursor(cursor.alive, score, cursor.seen + 1 if score == cursor.score else 1)
            if job is not None and chosen.matches(job):
                found.append(job)
                if len(found) == limit:
                    return JobPage(tuple(found), cursor)
        if len(rows) < count:
            if not cursor.alive or not chosen.over:
                return JobPage(tuple(found), None)
            cursor = _FIRST_OVER
        if looked >= LOOK:
            return JobPage(tuple(found), cursor)


async def _page_alive(redis: Redis, queue: str, cursor: Cursor, count: int) -> list[tuple[float, JobRecord | None]]:
    """Members of the queue from ``cursor`` on with their due times; None for one that went meanwhile."""
    rows = await redis.zrangebyscore(queue, cursor.score, "+inf", start=cursor.seen, num=count, withscores=True)
    if not rows:
        return []
    ids = [job_id for job_id, _ in rows]
    pipeline = redis.pipeline(transaction=True)
    pipeline.time()
    for job_id in ids:
        pipeline.zscore(queue, job_id)
        _ask_alive(pipeline, queue, job_id, HEAD)
    now, *told = await answers(pipeline)
    width = len(told) // len(ids)
    found: list[tuple[float, JobRecord | None]] = []
    for number, (job_id, (_, score)) in enumerate(zip(ids, rows, strict=True)):
        due, *alive = told[number * width : (number + 1) * width]
        found.append((score, None if due is None else _alive(job_id, due, _ms(now), *alive)))
    return found


async def _page_over(redis: Redis, queue: str, cursor: Cursor, count: int) -> list[tuple[float, JobRecord | None]]:
    """Records of ended jobs from ``cursor`` on with their ends; None for one that went or came back meanwhile."""
    ends = keys.job_ends(queue)
    pipeline = redis.pipeline(transaction=False)
    pipeline.zrevrangebyscore(ends, cursor.score, "-inf", start=cursor.seen, num=count, withscores=True)
    (rows,) = await answers(pipeline)
    if not rows:
        return []
    ids = [job_id for job_id, _ in rows]
    pipeline = redis.pipeline(transaction=True)
    pipeline.hmget(keys.job_records(queue), ids)
    for job_id in ids:
        pipeline.zscore(queue, job_id)
        pipeline.zscore(keys.dead_letters(queue), job_id)
    records, *told = await answers(pipeline)
    records = records or [None] * len(ids)
    found: list[tuple[float, JobRecord | None]] = []
    for number, (job_id, (_, score)) in enumerate(zip(ids, rows, strict=True)):
        queued, died = told[2 * number : 2 * number + 2]
        gone = records[number] is None or queued is not None
        found.append((score, None if gone else _over(job_id, records[number], score, dead_letter=died is not None)))
    return found


def _ask_alive(pipeline: Any, queue: str, job_id: str | bytes, head: int) -> None:
    """Ask for the last arguments of ``_alive``."""
    name = job_id if isinstance(job_id, bytes) else job_id.encode()  # a member of the queue may be no text
    pipeline.exists(keys.IN_PROGRESS_PREFIX.encode() + name)
    pipeline.get(keys.RETRY_PREFIX.encode() + name)
    pipeline.hget(keys.open_jobs(queue), name)
    pipeline.getrange(keys.JOB_PREFIX.encode() + name, 0, head - 1)
    pipeline.zscore(keys.ABORT, name)


def _text(job_id: str | bytes) -> str:
    return job_id if isinstance(job_id, str) else job_id.decode(errors="backslashreplace")


def _moment(score: float) -> int:
    """A score as Unix milliseconds, within what can be written."""
    return int(min(max(score, 0), MOST))


def _alive(
    job_id: str | bytes,
    due: float,
    now_ms: int,
    held: int,
    tried: bytes | None,
    open_tries: bytes | None,
    head: bytes | None,
    aborted: float | None,
) -> JobRecord:
    """A job that has not ended, of what Redis holds of it."""
    deferred = due > now_ms + ROUNDING_MS
    state = JobState.RUNNING if held else JobState.DEFERRED if deferred else JobState.WAITING
    _, tries = job_tries.parse(open_tries or b"")
    if tries and tries[-1].outcome is None and not held:
        tries = (*tries[:-1], job_tries.lost(tries[-1]))
    header = read_header(head or b"")
    return JobRecord(
        job_id=_text(job_id),
        state=state,
        function=header.function,
        enqueued_ms=header.enqueued_ms,
        due_ms=_moment(due) if due > 1 else None,  # 1 is where arq moves a job that is to be aborted
        error=_last_error(tries),
        tries=tries,
        tried=int(tried) if tried is not None and tried.isdigit() and len(tried) < 20 else 0,
        cancelling=aborted is not None,
    )


def _over(job_id: str | bytes, record: bytes, ended: float | None, *, dead_letter: bool) -> JobRecord:
    """A job that has ended, of its record; of less where a plain arq worker has ended it."""
    ending, tries = job_tries.parse(record)
    if tries and tries[-1].outcome is None:
        tries = (*tries[:-1], job_tries.lost(tries[-1]))
    outcome = ending.outcome if ending else None
    state = JobState.ENDED if outcome is None else _STATES.get(outcome, JobState.FAILED)
    return JobRecord(
        job_id=_text(job_id),
        state=state,
        function=ending.function if ending else None,
        enqueued_ms=ending.enqueued_ms if ending else None,
        ended_ms=None if ended is None else _moment(ended),
        outcome=outcome,
        error="" if state is JobState.SUCCEEDED else (ending.error if ending else "") or _last_error(tries),
        tries=tries,
        tried=tries[-1].number if tries else 0,
        dead_letter=dead_letter,
    )


def _dead(letter: dead_letters.DeadLetter) -> JobRecord:
    """A job of which no more is known than its dead letter: those are kept longer."""
    return JobRecord(
        job_id=letter.job_id,
        state=JobState.FAILED,
        function=letter.function,
        enqueued_ms=letter.enqueued_ms,
        ended_ms=letter.died_ms,
        outcome=letter.reason if letter.reason != "timeout" else "failed",
        error=letter.error[: job_tries.ERROR_LENGTH],
        tried=letter.tries,
        dead_letter=True,
    )


_STATES: Final = {"succeeded": JobState.SUCCEEDED, "aborted": JobState.CANCELLED}


def _last_error(tries: tuple[JobTry, ...]) -> str:
    return next((each.error for each in reversed(tries) if each.error), "")


def _ms(time: tuple[int, int]) -> int:
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000
