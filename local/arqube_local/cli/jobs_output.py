"""How ``arqube jobs`` writes jobs: as a table and in words for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from arqube_local.text import age, aligned, printable, shortened, timestamp
from arqube_queue.job_records import JobRecord, JobState
from arqube_queue.job_tries import JobTry

_COLUMNS: Final = ("JOB ID", "FUNCTION", "STATE", "TRIES", "AGE", "RAN", "WORKER", "ERROR")
_TRY_COLUMNS: Final = ("TRY", "STARTED", "RAN", "OUTCOME", "WORKER", "ERROR")
_LONGEST_ERROR: Final = 80


def table(jobs: Iterable[JobRecord], now_ms: int) -> str:
    """One line a job, under a heading; what a job's texts hold cannot command the terminal."""
    return aligned([_COLUMNS, *(_row(job, now_ms) for job in jobs)])


def details(job: JobRecord, now_ms: int) -> str:
    """All that is known of a job, and its tries as a table."""
    fields = {
        "Job id": job.job_id,
        "Function": job.function or "unknown",
        "State": words(job, now_ms),
        "Enqueued": timestamp(job.enqueued_ms) or "unknown",
        "Due": timestamp(job.due_ms) or "",
        "Ended": timestamp(job.ended_ms) or "",
        "Tries": str(job.tried) if job.tried else "",
        "Error": job.error,
    }
    lines = [f"{name + ':':<10}{printable(value)}" for name, value in fields.items() if value]
    if job.tries:
        lines += ["", aligned([_TRY_COLUMNS, *(_try_row(each, now_ms) for each in job.tries)])]
    return "\n".join(lines)


def words(job: JobRecord, now_ms: int) -> str:
    """The state of a job in a sentence."""
    told = _words(job, now_ms)
    return f"{told}; somebody has asked to cancel it" if job.cancelling else told


def _words(job: JobRecord, now_ms: int) -> str:
    last = job.tries[-1] if job.tries else None
    after = f" after {job.tried} {'try' if job.tried == 1 else 'tries'}" if job.tried else ""
    match job.state:
        case JobState.RUNNING:
            if last is None or last.outcome is not None:
                return "runs on a worker that records nothing, as plain arq's do"
            return f"runs on {last.worker} for {_since(last.started_ms, now_ms)}"
        case JobState.WAITING:
            due = f" for {_since(job.due_ms, now_ms)}" if job.due_ms is not None else ""
            return f"waits for a worker{after}{due}"
        case JobState.DEFERRED:
            return f"is due in {_since(now_ms, job.due_ms or now_ms)}{after}"
        case JobState.SUCCEEDED:
            ran = f" in {_duration(last, now_ms)}" if last is not None else ""
            return f"has succeeded{ran}{after if job.tried > 1 else ''}"
        case JobState.FAILED:
            remedy = ": arqube dlq show tells more, arqube jobs retry runs it again" if job.dead_letter else ""
            return f"has failed for good ({job.outcome}){after}{remedy}"
        case JobState.CANCELLED:
            return f"was cancelled{after or ' before it started'}"
    return "has ended on a plain arq worker: only its result tells how"


def document(job: JobRecord) -> dict[str, Any]:
    """A job for JSON."""
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "function": job.function,
        "enqueued_at": timestamp(job.enqueued_ms),
        "due_at": timestamp(job.due_ms),
        "ended_at": timestamp(job.ended_ms),
        "outcome": job.outcome,
        "error": job.error,
        "tried": job.tried,
        "cancelling": job.cancelling,
        "dead_letter": job.dead_letter,
        "tries": [_try_document(each) for each in job.tries],
    }


def _try_document(one: JobTry) -> dict[str, Any]:
    values = asdict(one)
    started, ended = values.pop("started_ms"), values.pop("ended_ms")
    return {**values, "started_at": timestamp(started), "ended_at": timestamp(ended)}


def _row(job: JobRecord, now_ms: int) -> Sequence[str]:
    last = job.tries[-1] if job.tries else None
    return (
        printable(job.job_id),
        printable(job.function or "?"),
        f"{job.state}, cancelling" if job.cancelling else f"{job.state}",
        str(job.tried),
        "?" if job.enqueued_ms is None else _since(job.enqueued_ms, now_ms),
        "" if last is None else _duration(last, now_ms),
        "" if last is None else printable(last.worker),
        shortened(job.error, _LONGEST_ERROR),
    )


def _try_row(one: JobTry, now_ms: int) -> Sequence[str]:
    return (
        str(one.number),
        timestamp(one.started_ms) or "?",
        _duration(one, now_ms),
        printable(one.outcome or "running"),
        printable(one.worker),
        shortened(one.error, _LONGEST_ERROR),
    )


def _duration(one: JobTry, now_ms: int) -> str:
    """How long a try took, or takes so far; nothing is known of one that was lost."""
    if one.duration_s is not None:
        return f"{one.duration_s:.3g}s" if one.duration_s < 100 else age(int(one.duration_s))
    return _since(one.started_ms, now_ms) if one.outcome is None else "?"


def _since(then_ms: int | None, now_ms: int) -> str:
    return age(max(0, now_ms - (now_ms if then_ms is None else then_ms)) // 1000)
