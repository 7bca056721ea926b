"""What is killed, and when. Pure: stages inflict it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Fault(StrEnum):
    """A blow to a part of the whole."""

    DATABASE_KILLED = "database: kill -9"
    DATABASE_STOPPED = "database: stopped at once, without a checkpoint"
    REDIS_KILLED = "Redis: kill -9"
    REDIS_RESTARTED = "Redis: stopped and started"
    WORKER_TERMINATED = "a worker: SIGTERM"
    WORKER_KILLED = "a worker: kill -9"
    API_KILLED = "a process of the API: kill -9"


class Blow(NamedTuple):
    """A fault at a time.

    Attributes:
        at_s: Seconds from the start of the load.
        fault: Which.
    """

    at_s: float
    fault: Fault


ORDER: Final = (
    *(Fault.WORKER_KILLED, Fault.DATABASE_KILLED, Fault.WORKER_TERMINATED, Fault.REDIS_KILLED, Fault.API_KILLED),
    *(Fault.WORKER_KILLED, Fault.DATABASE_STOPPED, Fault.WORKER_TERMINATED, Fault.REDIS_RESTARTED, Fault.WORKER_KILLED),
    *(Fault.API_KILLED, Fault.WORKER_TERMINATED),
)
"""All kinds, most of them twice."""


def schedule(seconds: float) -> list[Blow]:
    """The blows of a load of so many seconds, spread evenly over it: none at its very start or end."""
    gap = seconds / (len(ORDER) + 1)
    return [Blow((number + 1) * gap, fault) for number, fault in enumerate(ORDER)]
