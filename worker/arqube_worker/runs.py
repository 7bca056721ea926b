"""One job's run in this worker, and how it ended: what arq's hooks do not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from arq.jobs import SerializationError

from arqube_queue.claims import ClaimedJob

UNKNOWN_FUNCTION: Final = "unknown"
"""What stands for a function that this worker does not have: payloads may hold any name, and labels must be bounded."""


class Outcome(str, Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    """It raised Retry or RetryJob, and will run again."""
    ABORTED = "aborted"
    RETURNED = "returned"
    """This worker stopped and gave it back; the try does not count."""
    EXPIRED = "expired"
    """Its payload was gone before it ran."""
    UNDECODABLE = "undecodable"
    UNKNOWN_FUNCTION = "unknown_function"
    TRIES_EXHAUSTED = "tries_exhausted"

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True, eq=False)
class Run:
    """What is known of a run so far. Times are Unix seconds.

    Attributes:
        job: The claimed job.
        function: Name in the payload; None until the payload was read.
        attempt: arq's ``job_try``; 0 until it is known.
        started_at: When the coroutine began; None before.
        ended_at: When it ended; None before.
        error: What the coroutine raised.
        aborting: Somebody asked arq to abort it.
        refusal: The exception arq stored for a job that it did not start.
        returning: The worker stops: the run is to be given back.
        settled: Redis knows how it ended, or it is another worker's.
    """

    job: ClaimedJob
    function: str | None = None
    attempt: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    error: BaseException | None = None
    aborting: bool = False
    refusal: BaseException | None = None
    returning: bool = False
    settled: bool = False

    @property
    def wait_s(self) -> float | None:
        """Seconds from the time it was due to its start; None for one that was not started."""
        return None if self.started_at is None else max(0.0, self.started_at - self.job.score / 1000)

    @property
    def duration_s(self) -> float | None:
        """Seconds it ran; None for one that has not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


def outcome_of_run(run: Run, *, final: bool) -> Outcome:
    """The outcome of a run that was started; ``final`` says whether arq ended the job, or left it to run again."""
    if not final:
        return Outcome.RETRIED
    if run.error is None:
        return Outcome.SUCCEEDED
    if run.aborting and isinstance(run.error, asyncio.CancelledError):
        return Outcome.ABORTED
    return Outcome.FAILED


def outcome_of_refusal(run: Run, functions: Collection[str]) -> Outcome:
    """The outcome of a job that arq ended without starting it; ``functions`` are those this worker has."""
    if isinstance(run.refusal, asyncio.CancelledError):
        return Outcome.ABORTED
    if isinstance(run.refusal, SerializationError):
        return Outcome.UNDECODABLE
    if run.function is None:
        return Outcome.EXPIRED
    return Outcome.TRIES_EXHAUSTED if run.function in functions else Outcome.UNKNOWN_FUNCTION
