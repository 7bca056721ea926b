"""One job's run in this worker, and how it ended."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from arqube_queue.leases import Held
from arqube_queue.turns import Lease

if TYPE_CHECKING:
    from arqube_worker.spans import JobSpan

UNKNOWN_FUNCTION: Final = "unknown"
"""What stands for a function that this worker does not have: payloads may hold any name, and labels must be bounded."""


class Outcome(str, Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    """It raised Retry or RetryJob, was cancelled, or failed in a way that its policy retries, and will run again."""
    ABORTED = "aborted"
    RETURNED = "returned"
    """This worker stopped and gave it back; the try does not count."""
    PUT_BACK = "put_back"
    """Not for this worker, or not yet: its function is not known here, or is about to be aborted. No try is counted."""
    LEASE_LOST = "lease_lost"
    """Another worker took it, after Redis was away or this process stood still for longer than a lease."""
    EXPIRED = "expired"
    """Its payload was gone before it ran."""
    UNDECODABLE = "undecodable"
    UNKNOWN_FUNCTION = "unknown_function"
    TRIES_EXHAUSTED = "tries_exhausted"

    def __str__(self) -> str:
        return self.value


class Cause(Enum):
    """Why this worker cancelled a run."""

    TIMEOUT = "timeout"
    ABORT = "abort"
    STOP = "stop"
    LEASE_LOST = "lease_lost"


class Verdict(Enum):
    """What is to become of a job whose run is over."""

    SUCCEED = "succeed"
    FAIL = "fail"
    ABORT = "abort"
    RETRY = "retry"
    """It raised Retry, which says when."""
    AGAIN = "again"
    """It was cancelled or raised RetryJob: at once, and the try counts."""
    RETURN = "return"
    """At once and elsewhere, and the try does not count."""
    FORGET = "forget"
    """It is another worker's."""


@dataclass(slots=True, eq=False)
class Run:
    """What is known of a run so far. Times are Unix seconds.

    Attributes:
        lease: The leased job.
        function: Name in the payload; None until the payload was read.
        attempt: arq's ``job_try``; 0 until it is known.
        enqueued_ms: When the job was enqueued, in Unix milliseconds; 0 until it is known.
        task: Runs it, once it was begun.
        started_at: When the coroutine began; None before.
        ended_at: When it ended; None before.
        cause: Why we cancelled it; None when we did not.
        death: Why it is to become a dead letter, of ``arqube_queue.dead_letters.REASONS``; None when it is not.
        span: What a trace tells of it; None when jobs are not traced.
        held: Its lease as it is kept; None before that.
        written: Done when Redis knows how it ended; None when nobody waits for that.
        score: The lease's, which is computed once.
    """

    lease: Lease
    function: str | None = None
    attempt: int = 0
    enqueued_ms: int = 0
    task: asyncio.Task[None] | None = None
    started_at: float | None = None
    ended_at: float | None = None
    cause: Cause | None = None
    death: str | None = None
    span: JobSpan | None = None
    held: Held | None = None
    written: asyncio.Future[None] | None = None
    score: int = field(init=False)

    def __post_init__(self) -> None:
        self.score = self.lease.score

    def cancel(self, cause: Cause) -> None:
        """Cancel the job's coroutine, unless it is over or was cancelled before: the first cause counts."""
        if self.cause is None and self.ended_at is None:
            self.cause = cause
            if self.started_at is not None and self.task is not None:
                self.task.cancel()

    @property
    def wait_s(self) -> float | None:
        """Seconds from the time it was due to its start; None for one that was not started."""
        return None if self.started_at is None else max(0.0, self.started_at - self.score / 1000)

    @property
    def duration_s(self) -> float | None:
        """Seconds it ran; None for one that has not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


current: ContextVar[Run] = ContextVar("arqube_run")
"""The run whose code is executed."""


def verdict(
    error: BaseException | None, cause: Cause | None, *, retry_jobs: bool, own_wish: tuple[Any, Any]
) -> Verdict:
    """What becomes of a job whose coroutine has ended.

    Any error after our stop's cancellation counts as its consequence: drivers often turn a cancellation into an error
    of their own. With ``retry_jobs=False`` the app has said that a job which began must not begin again.

    Args:
        error: What it raised, if anything.
        cause: Why we had cancelled it, if we had.
        retry_jobs: arq's setting.
        own_wish: arq's exceptions ``Retry`` and ``RetryJob``.
    """
    retry, again = own_wish
    if cause is Cause.LEASE_LOST:
        return Verdict.FORGET
    if error is None:
        return Verdict.SUCCEED
    if retry_jobs and isinstance(error, retry):
        return Verdict.RETRY
    cancelled = isinstance(error, asyncio.CancelledError)
    if cancelled and cause is Cause.ABORT:
        return Verdict.ABORT
    if retry_jobs and isinstance(error, again):
        return Verdict.AGAIN
    if retry_jobs and cause is Cause.STOP:
        return Verdict.RETURN
    if retry_jobs and cancelled and cause is None:
        return Verdict.AGAIN
    return Verdict.FAIL
