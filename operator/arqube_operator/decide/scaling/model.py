"""What the policy says and remembers, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from arqube_operator.decide.scaling.crons import KnownCrons
from arqube_operator.decide.scaling.learning import Learned

Window = tuple[tuple[float, int], ...]
"""Numbers of pods with the Unix seconds they were wanted at, oldest first."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The figures a decision stands on; None where one is not known.

    Attributes:
        waiting: Jobs that are due and do not run.
        running: Jobs that run.
        due_soon: Deferred jobs that are due before a new pod would be ready.
        oldest_wait_s: Seconds the longest-waiting job has waited.
        arrivals_per_s: Jobs that become due a second.
        service_s: Seconds a job runs on average.
        startup_s: Seconds a new pod needs until it is ready.
        busy_slots: Jobs that the pods run.
        slots: Jobs that the ready pods could run at once.
    """

    waiting: int
    running: int
    due_soon: int
    oldest_wait_s: float
    arrivals_per_s: float | None = None
    service_s: float | None = None
    startup_s: float | None = None
    busy_slots: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """Something that speaks for a number of pods: its CamelCase name, the number before rounding, and how it comes."""

    name: str
    replicas: float
    message: str


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """What the policy remembers of a TaskQueue between two decisions.

    Attributes:
        learned: Arrivals, service time and start-up time.
        crons: When the workers' next cron run is.
        enough: The pods that were enough, thinned to what can still be the maximum of its window: stabilization down.
        asked: The pods that were asked for, thinned to what can still be the minimum: stabilization up.
        steps: Changes of the number of pods within the step limits' periods: Unix seconds and difference.
        replicas: The number of pods at the last decision; None before the first.
        worked_s: Unix seconds when there was last any work, or the watch began.
        away_s: Unix seconds since which Redis cannot be read; None while it can.
        retire: Pods that were asked to take no more jobs, with the Unix seconds of the first time.
    """

    learned: Learned = field(default_factory=Learned)
    crons: KnownCrons = field(default_factory=KnownCrons)
    enough: Window = ()
    asked: Window = ()
    steps: Window = ()
    replicas: int | None = None
    worked_s: float | None = None
    away_s: float | None = None
    retire: tuple[tuple[str, float], ...] = ()

    @property
    def startup_s(self) -> float:
        """Seconds within which nearly every new pod is ready."""
        return self.learned.startup.slow_s


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of workers wanted.

    Attributes:
        replicas: Workers there should be now; None leaves them as they are.
        reason: CamelCase, for status, metrics and Events.
        message: The decision as a sentence.
        active: The queue decides; false when a person or a fault holds the number.
        inputs: The figures it stands on; None before the queue was read.
        terms: What speaks for which number of pods, in the order considered.
        limit: What kept the number from what the terms ask for, in CamelCase; None when nothing did.
        memory: To be remembered for the next decision.
        retire: Names of the pods that should take no more jobs, so that they can go.
    """

    replicas: int | None
    reason: str
    message: str
    active: bool = True
    inputs: Inputs | None = None
    terms: tuple[Term, ...] = ()
    limit: str | None = None
    memory: ScalingMemory = field(default_factory=ScalingMemory)
    retire: frozenset[str] = frozenset()
