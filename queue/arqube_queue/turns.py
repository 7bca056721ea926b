"""A worker's turns at a queue: in one script call, the runs that are done end in Redis and free slots lease due jobs.

The protocol is arq 0.28's (``arq/worker.py``), so that plain arq workers may share the queue: a job runs while
``arq:in-progress:<id>`` exists, whatever its value, and its member stays in the queue until it is finished. The value
we write is a token that names the lease. It is checked by whatever ends a run, so that a run which has lost its lease
changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from redis.exceptions import InvalidResponse, ResponseError

from arqube_queue import environment as env
from arqube_queue import heartbeat, job_records, job_tries, keys, payload_life, scripts
from arqube_queue.payload import MOST, JobHeader, read_header
from arqube_queue.scripts import Executor

LEASE_S: Final = 15.0
"""How long a lease lasts, in seconds, unless it is renewed."""
RETRY_LIFE_S: Final = 88_400
"""How long arq keeps a job's count of tries, in seconds (``arq/worker.py``, ``run_job``)."""
UNKNOWN_FUNCTION_GRACE_S: Final = 300.0
"""How long a job whose function nobody knows is put back for a worker that knows it, in seconds."""
LOOK: Final = 1000
"""Members looked at in one turn: about a millisecond. The next turn goes on from there."""
PAGE: Final = 100
"""Members looked at in one step of the script."""
TURNS_PER_LOOK: Final = 8
"""Turns behind the running jobs for each turn that the last look from the head took: such looks find jobs that have
become free among those that run, and take no more of Redis than an eighth of the turns however many run."""
ERROR_LENGTH: Final = 2_000
TRACEBACK_LENGTH: Final = 16_000
"""Characters of an error and of a traceback that a dead letter keeps."""

_TURN = scripts.load("turn")

Argument = str | bytes | int


class Lease(NamedTuple):
    """A job that is ours as long as the lease is renewed.

    Attributes:
        job_id: arq's id of the job.
        due: When it was due, in Unix milliseconds, as Redis wrote it.
        tries: How often it was started, this time included.
        token: Names the lease.
        payload: The serialized job; None when it had expired; an error where its key holds something else.
        aborted: Somebody asked to abort it.
        former: The lines of its tries so far (``arqube_queue.job_tries``); None for none.
    """

    job_id: str
    due: bytes
    tries: int
    token: str
    payload: bytes | ResponseError | None = None
    aborted: bool = False
    former: bytes | None = None

    @property
    def score(self) -> int:
        """arq's score: the due time in Unix milliseconds; 1 when arq moved the job to the front to abort it.

        0 for what lies before that: Redis's scores may be anything, minus infinity included.
        """
        return int(max(0.0, float(self.due)))


class Death(NamedTuple):
    """Why a job will never run again: what its dead letter keeps beside the payload.

    Attributes:
        reason: ``failed``, ``tries_exhausted``, ``timeout``, ``expired``, ``undecodable`` or ``unknown_function``.
        function: Its name; empty when it is not known.
        error: The exception's class and message.
        traceback: Its text; empty when nothing was raised.
        attempt: The try at which it died.
        enqueued_ms: Unix milliseconds; 0 when not known.
    """

    reason: str
    function: str
    error: str
    traceback: str
    attempt: int
    enqueued_ms: int

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """As the script takes them. Text that is no Unicode must not hold up the batch."""
        error = self.error[:ERROR_LENGTH].encode(errors="replace")
        function = self.function.encode(errors="replace")
        traceback = self.traceback[-TRACEBACK_LENGTH:].encode(errors="replace")
        return (self.reason, function, error, traceback, self.attempt, self.enqueued_ms)


End = tuple[Argument, ...]
"""How one run ends: an operation of the script with its arguments."""


def finish(
    lease: Lease, result: bytes | None, *, record: str = "", life_ms: int = 0, keep_in_progress_ms: int = 0
) -> End:
    """The job is over.

    Args:
        lease: The run's.
        result: What arq's clients read; None for none.
        record: What is kept of the job: the lines of ``arqube_queue.job_tries``.
        life_ms: How long arq's clients may read the result, in milliseconds; 0 for ever.
        keep_in_progress_ms: How long its id is taken beyond its end; arq does this with cron jobs.
    """
    job_id, due, tries, token, _, _, _ = lease
    return ("finish", job_id, token, tries, due, result or b"", life_ms, keep_in_progress_ms, record)


def bury(lease: Lease, result: bytes | None, death: Death, **options: Any) -> End:
    """The job is over by a failure, and becomes a dead letter. Arguments as ``finish``."""
    return ("bury", *finish(lease, result, **options)[1:], *death.arguments)


def put_back(lease: Lease, result: bytes | None, death: Death, **options: Any) -> End:
    """The job is for a worker that knows its function: soon due again, this try neither counted nor recorded.

    It is buried instead once it was put back for the whole grace and no living worker knows the function.
    """
    return ("unknown", *finish(lease, result, **options)[1:], *death.arguments, lease.former or b"")


def requeue(
    lease: Lease,
    *,
    record: str | bytes = "",
    due_ms: int | None = None,
    tries: int | None = None,
    keep_in_progress_ms: int = 0,
) -> End:
    """The job is to run again.

    Args:
        lease: The run's.
        record: The lines of its tries so far; empty for none.
        due_ms: When, in Unix milliseconds; None leaves its due time.
        tries: How many tries it has had; None leaves the count.
        keep_in_progress_ms: As for ``finish``.
    """
    job_id, due, count, token, _, _, _ = lease
    later, tried = "" if due_ms is None else due_ms, "" if tries is None else tries
    return ("requeue", job_id, token, count, due, later, tried, keep_in_progress_ms, record)


def give_back(lease: Lease, *, record: str | bytes | None = None) -> End:
    """The job is as it was before its lease: claimable at once, this try not counted.

    Args:
        lease: The run's.
        record: The lines of its tries so far; None when this one did not begin.
    """
    return requeue(lease, record=record or lease.former or b"", tries=lease.tries - 1)


def lease_again(lease: Lease) -> End:
    """The lease has run out, and is taken anew unless somebody else has taken it."""
    job_id, due, tries, token, _, _, _ = lease
    return ("lease", job_id, token, tries, due)


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all turns of a worker. Times are in seconds.

    Attributes:
        lease_s: How long a lease lasts.
        expires_extra_ms: How long payloads live beyond their due time by default, in milliseconds.
        dead_letter_retention_s: How long a dead letter is kept.
        dead_letter_max_entries: Dead letters a queue keeps.
        unknown_function_grace_s: How long a job waits for a worker that knows its function.
    """

    lease_s: float = LEASE_S
    expires_extra_ms: int = payload_life.DEFAULT_LIFE_MS
    dead_letter_retention_s: float = env.DEFAULT_DEAD_LETTER_RETENTION_S
    dead_letter_max_entries: int = env.DEFAULT_DEAD_LETTER_MAX_ENTRIES
    unknown_function_grace_s: float = UNKNOWN_FUNCTION_GRACE_S

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts, in milliseconds."""
        return int(self.lease_s * 1000)


class Turn(NamedTuple):
    """What a turn brought.

    Attributes:
        ended: For each end, whether it was written; False when the job was no longer ours.
        buried: For each end, whether it became a dead letter.
        leases: The jobs to run.
        next_due_ms: When the next deferred job is due, in Unix milliseconds; None when that is not known.
        more: There may be more due jobs which the turn did not come to look at.
        running: Due jobs that it passed by, as they run here or elsewhere.
        to_abort: Ids of running jobs that somebody wants aborted.
        redis_ms: The present in Unix milliseconds, as Redis has it.
        misnamed: Ids of due jobs that are no text, as arq's are: their jobs are dead letters after the next turn, under
            these names.
        suspect: What it leased is a job whose last two tries were lost with their workers, which may be its own doing.
    """

    ended: list[bool]
    buried: list[bool]
    leases: list[Lease]
    next_due_ms: int | None
    more: bool
    running: int
    to_abort: list[str]
    redis_ms: int
    misnamed: list[str]
    suspect: bool


class Turns:
    """One worker's turns at one queue, taken one after the other.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        worker: Name of the worker, for dead letters and for what is recorded of jobs.
        token: Distinguishes this worker from every other, also from a former one of its name.
        policy: What holds for all turns.
    """

    def __init__(self, redis: Executor, queue: str, *, worker: str, token: str, policy: Policy) -> None:
        self._redis = redis
        self._keys = [
            *(queue, keys.dead_letters(queue), keys.unknown_functions(queue), keys.heartbeats(queue)),
            *(keys.job_records(queue), keys.job_ends(queue), keys.open_jobs(queue)),
        ]
        self._token = token
        self._number = 0
        self._lease_ms = policy.lease_ms
        self._start = 0
        self._looked = 0  # turns that the present look from the head has taken
        self._until_look = 0  # turns that are left until the next one
        self._unanswered = False
        self._misnamed: list[End] = []
        self._settings: tuple[Argument, ...] = (
            *(keys.JOB_PREFIX, keys.IN_PROGRESS_PREFIX, keys.RETRY_PREFIX, keys.RESULT_PREFIX, keys.ABORT),
            keys.dead_letter(queue, ""),
            *(RETRY_LIFE_S, policy.expires_extra_ms, payload_life.TOLERANCE_MS, int(heartbeat.STALE_AFTER_S * 1000)),
            *(worker, int(policy.dead_letter_retention_s * 1000), policy.dead_letter_max_entries),
            int(policy.unknown_function_grace_s * 1000),
            *(job_tries.quoted(worker), job_tries.MOST_TRIES, job_records.KEPT, job_records.LIFE_MS),
        )

    @property
    def unanswered(self) -> bool:
        """A turn got no answer, so it may have leased jobs. Those of the next are the same, if it has room."""
        return self._unanswered

    def look_from_the_head(self) -> None:
        """Begin the next turn's search with the earliest job: there may be some that were given back."""
        self._start = self._looked = self._until_look = 0

    async def take(
        self,
        ends: Iterable[End],
        *,
        now_ms: int,
        limit: int,
        running: Collection[str] = (),
        suspects: bool = True,
    ) -> Turn:
        """End runs, then lease up to ``limit`` jobs that are due and run nowhere, earliest first; a suspect alone.

        A turn that failed is to be repeated with the same ends, to which more may be added behind: what it has done
        already is not done twice, and jobs which it has leased are leased once more.

        Args:
            ends: The runs that are done.
            now_ms: The present in Unix milliseconds, by which jobs are due; the worker's, as in arq.
            limit: Free slots.
            running: Ids of jobs that run here and may be aborted.
            suspects: Whether to lease a suspect (``Turn.suspect``); False passes them by.

        Raises:
            redis.exceptions.RedisError, OSError: No answer, or a refusal; all or a part of it may have happened.
        """
        token = f"{self._token}:{self._number}"
        if limit > 0 and self._until_look == 0 and self._looked == 0:
            self._start = 0
        start = 0 if self._unanswered else self._start
        flat: list[Argument] = [now_ms, token, self._lease_ms, limit, start, LOOK, PAGE]
        # A suspect's turn leases nothing else, and this one is to find again what an unanswered one has leased.
        flat.append(int(suspects and not self._unanswered))
        flat += self._settings
        counted, count = len(flat), 0
        flat.append(count)
        for end in chain(self._misnamed, ends):
            flat += end
            count += 1
        flat[counted] = count
        flat.append(len(running))
        flat += running
        self._unanswered = self._unanswered or limit > 0
        answer = await _TURN(self._redis, self._keys, flat)
        try:
            return self._read(answer, token, limit)
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidResponse(f"this is no answer to a turn: {error}") from error

    def _read(self, answer: Any, token: str, limit: int) -> Turn:
        statuses, flat_leases, next_due, start, passed_by, to_abort, redis_ms, suspect = answer
        statuses = statuses[len(self._misnamed) :]
        leases, misnamed = [], []
        pieces = iter(flat_leases)
        for job_id, due, tries, payload, aborted, former in zip(*(pieces,) * 6, strict=True):
            try:
                leases.append(Lease(job_id.decode(), due, tries, token, payload, aborted == 1, former))
            except UnicodeDecodeError:
                misnamed.append(Lease(job_id, due, tries, token, payload))
        next_due_ms = float(next_due)
        turn = Turn(
            [status > 0 for status in statuses],
            [status > 1 for status in statuses],
            leases,
            int(next_due_ms) if 0 <= next_due_ms < MOST else None,
            bool(misnamed) or (limit > len(leases) and start > 0),
            passed_by,
            [job_id.decode(errors="replace") for job_id in to_abort],
            redis_ms,
            [_readable(lease.job_id) for lease in misnamed],
            suspect == 1,
        )
        self._start, self._unanswered = start, False
        if limit > 0:
            self._count_turn(over=bool(flat_leases) or start == 0)
        if flat_leases:
            self._number += 1
        self._misnamed = [_bury_misnamed(lease) for lease in misnamed]
        return turn

    def _count_turn(self, *, over: bool) -> None:
        """Count a turn that looked for jobs; ``over`` when it found some, or came to the end of those that are due."""
        if self._until_look > 0:
            self._until_look -= 1
            return
        self._looked += 1
        if over:
            self._until_look, self._looked = TURNS_PER_LOOK * self._looked, 0


def _bury_misnamed(lease: Lease) -> End:
    """The end of a job whose id is no text, so that no client of arq's can ask for it: buried under a readable one."""
    header = read_header(lease.payload) if isinstance(lease.payload, bytes) else JobHeader()
    error = "ValueError: its id is no text in UTF-8; it is kept under an id that is, and can be retried under that"
    death = Death("undecodable", header.function or "", error, "", lease.tries, header.enqueued_ms or 0)
    function = "null" if header.function is None else job_tries.quoted(header.function)
    record = job_tries.ending(function, death.enqueued_ms, death.reason, error)
    start = ("misnamed", lease.job_id, lease.token, lease.tries, lease.due)
    return (*start, _readable(lease.job_id), record, *death.arguments)


def _readable(job_id: Any) -> str:
    text: str = job_id.decode(errors="backslashreplace")
    return text
