"""What a fault is: a blow to one part of the whole, how long it lasts, and which repeated runs of jobs it explains."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from benchmarks.chaos.stage import Stage


class Setup(StrEnum):
    """How Redis is set up."""

    AOF = "one server that writes all to disk, behind a proxy"
    SENTINEL = "a primary and a replica with three sentinels"


class Part(StrEnum):
    """What a fault strikes. Faults of one part follow each other; those of several parts overlap."""

    WORKERS = "workers"
    REDIS = "redis"
    OPERATOR = "operator"
    API_SERVER = "api server"
    NODE = "node"
    TASK_QUEUES = "task queues"


class Explains(StrEnum):
    """Which runs that were under way while it lasted may begin once more because of a fault."""

    NOTHING = "nothing"
    """It must not cost a single run."""
    VICTIMS = "the victims' runs"
    """Those in the processes, or of the TaskQueues, that it names."""
    RUNS = "all runs"
    """Any: leases ended, or the ends of runs did not reach Redis."""
    COMPLETED = "all runs, and completed ones"
    """Even those that Redis has taken for completed: it lost what it had not replicated."""


class NothingToStrikeError(Exception):
    """What the fault needs is not there: no worker runs, for example. The blow is left out of the count."""


Victims = tuple[int | str, ...]
"""Ids of the processes that are struck, or names of TaskQueues, all of whose workers are."""
Inflict = Callable[["Stage", random.Random], AbstractAsyncContextManager[Victims]]
"""Strikes when it is entered and tells its victims; heals when it is left. Raises ``NothingToStrikeError``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of blow.

    Attributes:
        name: What it is called, as in ``worker: kill -9``.
        part: What it strikes.
        explains: Which repeats it explains.
        inflict: Strikes and heals.
        lasts_s: Shortest and longest time until it heals, in seconds; both 0 for what heals by itself.
        lingers_s: For how long after that its victims may still be stopped because of it: pods that are asked to go.
        setups: On which set-ups of Redis it is possible.
        weight: How often it is drawn, beside the others.
    """

    name: str
    part: Part
    explains: Explains
    inflict: Inflict
    lasts_s: tuple[float, float] = (0.0, 0.0)
    lingers_s: float = 0.0
    setups: frozenset[Setup] = frozenset(Setup)
    weight: int = 1


class Blow(NamedTuple):
    """A fault in its time.

    Attributes:
        at_s: Seconds from the start of the load.
        lasts_s: Seconds until it heals.
        fault: The fault's name.
        seed: For what the fault draws itself: which worker, which moment.
    """

    at_s: float
    lasts_s: float
    fault: str
    seed: int


class Struck(NamedTuple):
    """A blow that has fallen.

    Attributes:
        fault: The fault's name.
        explains: Which repeats it explains.
        began, healed: When, in seconds of this machine's monotonic clock.
        victims: Ids of the processes that were struck, or names of TaskQueues; none where it is not about workers.
        lingers_s: As of the fault.
    """

    fault: str
    explains: Explains
    began: float
    healed: float
    victims: Victims
    lingers_s: float = 0.0


class Catalogue:
    """The faults of one module, which declares each above the function that inflicts it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(
        self, name: str, part: Part, explains: Explains, **options: Any
    ) -> Callable[[Callable[[Stage, random.Random], AsyncIterator[Victims]]], Inflict]:
        """Declare a fault; the function strikes, yields the victims, and heals. ``options`` are ``Fault``'s others."""

        def declare(function: Callable[[Stage, random.Random], AsyncIterator[Victims]]) -> Inflict:
            inflict: Inflict = asynccontextmanager(function)
            self.faults.append(Fault(name, part, explains, inflict, **options))
            return inflict

        return declare


GOING_S: Final = 30.0
"""How long pods that are asked to go may stay: until new ones are ready, and a trouble of the API server is over."""
ONLY_AOF: Final = frozenset({Setup.AOF})
ONLY_SENTINEL: Final = frozenset({Setup.SENTINEL})


def by_name(faults: Iterable[Fault]) -> dict[str, Fault]:
    """The faults by their names.

    Raises:
        ValueError: Two have one name.
    """
    found: dict[str, Fault] = {}
    for each in faults:
        if each.name in found:
            raise ValueError(f"two faults are called {each.name!r}")
        found[each.name] = each
    return found
