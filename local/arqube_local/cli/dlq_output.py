"""How ``arqube dlq`` writes dead letters: as a table and texts for people, as JSON for programs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final

from arqube_local.text import age, aligned, printable, shortened, timestamp
from arqube_queue.dead_letters import DeadLetter, Remains

_COLUMNS: Final = ("JOB ID", "FUNCTION", "REASON", "TRIES", "AGE", "ERROR")
_LONGEST_ERROR: Final = 80


def table(letters: Iterable[DeadLetter], now_ms: int) -> str:
    """One line a letter, under a heading; what a job's error holds cannot command the terminal."""
    rows: list[Sequence[str]] = [_COLUMNS, *(_row(letter, now_ms) for letter in letters)]
    return aligned(rows)


def details(remains: Remains) -> str:
    """All that is kept of a job, but for its payload's bytes."""
    letter = remains.letter
    payload = (
        f"{letter.payload_bytes} bytes" if letter.payload_bytes else "none: it had expired, so no retry is possible"
    )
    fields = {
        "Job id": letter.job_id,
        "Function": letter.function or "unknown",
        "Reason": letter.reason,
        "Error": letter.error,
        "Tries": str(letter.tries),
        "Enqueued": timestamp(letter.enqueued_ms) or "unknown",
        "Died": timestamp(letter.died_ms) or "",
        "Worker": letter.worker,
        "Payload": payload,
    }
    lines = [f"{name + ':':<10}{printable(value)}" for name, value in fields.items()]
    if remains.traceback:
        lines += ["", *(printable(line) for line in remains.traceback.splitlines())]
    return "\n".join(lines)


def document(letter: DeadLetter) -> dict[str, Any]:
    """A letter for JSON."""
    return {
        "job_id": letter.job_id,
        "function": letter.function,
        "reason": letter.reason,
        "error": letter.error,
        "tries": letter.tries,
        "enqueued_at": timestamp(letter.enqueued_ms),
        "died_at": timestamp(letter.died_ms),
        "worker": letter.worker,
        "payload_bytes": letter.payload_bytes,
    }


def whole_document(remains: Remains) -> dict[str, Any]:
    """All that is kept of a job for JSON, the payload in base64."""
    return {
        **document(remains.letter),
        "traceback": remains.traceback,
        "payload": base64.b64encode(remains.payload).decode(),
    }


def _row(letter: DeadLetter, now_ms: int) -> tuple[str, ...]:
    age_s = max(0, now_ms - letter.died_ms) // 1000
    return (
        printable(letter.job_id),
        printable(letter.function or "?"),
        printable(letter.reason),
        str(letter.tries),
        age(age_s),
        shortened(letter.error, _LONGEST_ERROR),
    )
