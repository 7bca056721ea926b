"""The text in which a job's tries stand in Redis: a line each, a JSON array that is written without a JSON library.

A line holds the try's number, the worker and when it started; once it is over also when it ended, the outcome and the
error. The script of a turn adds the open line when it leases the job (``scripts/turn.lua``), and the worker sends all
lines again when the run ends. What has ended begins with a line for the job: function, time of enqueueing, outcome,
error. Payloads, arguments and results are no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

MOST_TRIES: Final = 20
"""Tries of a job that are kept: the last."""
ERROR_LENGTH: Final = 300
"""Characters of an error that are kept; a dead letter keeps more."""
LONGEST: Final = 65_536
"""Bytes of a text that are looked at: more than what a worker of ours writes."""
LOST: Final = "lost"
"""The outcome of a try of which no end was told: its worker was killed, or held up for longer than its lease."""


@dataclass(frozen=True, slots=True)
class JobTry:
    """One start of a job by a worker of ours.

    Attributes:
        number: arq's ``job_try``. A try that did not count, as its worker stopped, shares its number with the next.
        worker: Name of the worker; in Kubernetes the Pod's.
        started_ms: When it started, in Unix milliseconds by the worker's clock; by Redis's as long as it has not ended.
        ended_ms: When it ended, likewise; None as long as it runs, and when it was lost.
        outcome: ``succeeded``, ``failed``, ``retried``, ``aborted``, ``returned`` (the worker stopped, and gave the job
            back), or ``lost``; None as long as it runs.
        error: The exception's class and message, shortened; empty when nothing was raised.
    """

    number: int
    worker: str
    started_ms: int
    ended_ms: int | None = None
    outcome: str | None = None
    error: str = ""

    @property
    def duration_s(self) -> float | None:
        """Seconds it ran; None as long as that is not known."""
        return None if self.ended_ms is None else max(0, self.ended_ms - self.started_ms) / 1000


class Ending(NamedTuple):
    """How a job ended.

    Attributes:
        function: Name of the function; None when it is not known.
        enqueued_ms: Unix milliseconds by the producer's clock; None when not known.
        outcome: As the worker counts it.
        error: Why a job failed that was not started; empty for others, whose last try tells it.
    """

    function: str | None
    enqueued_ms: int | None
    outcome: str
    error: str


def quoted(text: str) -> str:
    """``text`` as a JSON string of ASCII letters, which any text has."""
    return json.dumps(text)


def ended_try(number: int, worker: str, started_ms: int, ended_ms: int, outcome: str, error: str = "") -> str:
    """The line of a try that is over; ``worker`` is quoted already, as that is the same each time."""
    if error:
        return f'[{number},{worker},{started_ms},{ended_ms},"{outcome}",{quoted(error[:ERROR_LENGTH])}]'
    return f'[{number},{worker},{started_ms},{ended_ms},"{outcome}"]'


def ending(function: str, enqueued_ms: int, outcome: str, error: str = "") -> str:
    """The line of a job that has ended; ``function`` is quoted already, or ``null``."""
    if error:
        return f'[{function},{enqueued_ms},"{outcome}",{quoted(error[:ERROR_LENGTH])}]'
    return f'[{function},{enqueued_ms},"{outcome}"]'


def only_try(function: str, enqueued_ms: int, worker: str, started_ms: int, ended_ms: int, outcome: str) -> str:
    """The lines of a job that has ended with its first try and no error, as most do: the same in one go."""
    return f'[{function},{enqueued_ms},"{outcome}"]\n[1,{worker},{started_ms},{ended_ms},"{outcome}"]'


def parse(text: bytes) -> tuple[Ending | None, tuple[JobTry, ...]]:
    """What a text says: how the job ended, if it has, and its tries in order. A line that is not known is passed over.

    A try without an end that another one follows was lost; whether the last was, only its lease tells.
    """
    told: Ending | None = None
    tries: list[JobTry] = []
    for number, line in enumerate(text[:LONGEST].split(b"\n")):
        try:
            values = json.loads(line)
            if number == 0 and not isinstance(values[0], int):
                told = _ending(values)
            else:
                tries.append(_try(values))
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            continue
    return told, tuple(each if each.outcome or each is tries[-1] else lost(each) for each in tries)


def lost(one: JobTry) -> JobTry:
    """The try as it is told once it is known that its worker will not tell its end."""
    return JobTry(one.number, one.worker, one.started_ms, None, LOST)


def _ending(values: Sequence[Any]) -> Ending:
    function, enqueued_ms, outcome, *rest = values
    return Ending(
        None if function is None else str(function), int(enqueued_ms) or None, str(outcome), "".join(rest[:1])
    )


def _try(values: Sequence[Any]) -> JobTry:
    number, worker, started_ms, *rest = values
    if len(rest) < 2:
        return JobTry(int(number), str(worker), int(started_ms))
    return JobTry(int(number), str(worker), int(started_ms), int(rest[0]), str(rest[1]), "".join(rest[2:3]))
