"""The kinds of jobs in a run, and how each may end. Pure; a job's id names its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SUCCEEDED: Final = "succeeded"
"""How a job ends that leaves no dead letter; other endings are called by the dead letter's reason."""
MOST_TRIES: Final = 10
"""Of jobs that are meant to succeed: more than faults can use up."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What jobs of a kind do.

    Attributes:
        name: As in their ids.
        share: Of all jobs.
        function: What they call; a name that no worker knows, for one kind.
        arguments: What with.
        endings: How they may end where nothing uses up their tries.
        most_tries: How often they may begin, runs that were given back aside.
        asks: How many of their runs ask for another.
        defer_s: Shortest and longest time from the enqueue until they are due, in seconds.
        runs: Whether they are ever started.
    """

    name: str
    share: float
    function: str
    arguments: tuple[float, ...] = ()
    endings: frozenset[str] = frozenset({SUCCEEDED})
    most_tries: int = MOST_TRIES
    asks: int = 0
    defer_s: tuple[float, float] = (0.0, 0.0)
    runs: bool = True


ASKED: Final = 2
HOPELESS_TRIES: Final = 3
TIMEOUT_S: Final = 0.5

_KINDS: Final = (
    Kind("noop", 0.736, "noop"),
    Kind("nap", 0.16, "nap", (0.05,)),
    Kind("long", 0.02, "nap", (2.0,)),
    Kind("longer", 0.001, "nap", (7.0,)),
    Kind("asks", 0.015, "asks", (ASKED,), asks=ASKED),
    Kind("flaky", 0.015, "flaky", (ASKED,), asks=ASKED),
    Kind("fails", 0.012, "fails", endings=frozenset({"failed"})),
    Kind(
        *("hopeless", 0.004, "hopeless"),
        endings=frozenset({"tries_exhausted"}),
        most_tries=HOPELESS_TRIES,
        asks=HOPELESS_TRIES,
    ),
    Kind("slow", 0.003, "too_slow", (60.0,), endings=frozenset({"timeout"})),
    Kind("blocks", 0.001, "blocks", (0.1,)),
    Kind("later", 0.02, "noop", defer_s=(0.5, 8.0)),
    Kind("cancelled", 0.003, "nap", (3.0,)),
    Kind("garbled", 0.004, "noop", endings=frozenset({"undecodable"}), runs=False),
    Kind("stranger", 0.002, "nobody_knows_it", endings=frozenset({"unknown_function"}), runs=False),
)
KINDS: Final = {kind.name: kind for kind in _KINDS}
CRON: Final = "cron:"
"""How ids of the cron's runs begin."""


def job_id(queue: str, kind: Kind, number: int) -> str:
    """The id of a job in the TaskQueue ``queue``."""
    return f"{queue}.{kind.name}.{number}"


def kind_of(job: str) -> Kind | None:
    """The kind of the job with this id; None for a cron's run."""
    return None if job.startswith(CRON) else KINDS[job.split(".")[1]]


def queue_of(job: str) -> str:
    """The TaskQueue of the job with this id."""
    return job.split(":")[2] if job.startswith(CRON) else job.split(".")[0]
