"""What is known about a queue and its workers, as plain values: no I/O, so that decisions can stand on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What one worker said of itself.

    Attributes:
        worker: Name of the worker; in Kubernetes the Pod's name.
        at_ms: When it was written, in Unix milliseconds by Redis's clock.
        busy: Jobs running now.
        slots: Jobs it may run at once.
        draining: It takes no more jobs and will exit.
        retiring: It takes no more jobs as long as it is asked to, and none is on its way to it: with ``busy`` 0 it has
            none and gets none until it says otherwise.
        started: Jobs started since the worker began.
        finished: Jobs ended since the worker began, by outcome.
        run_seconds: Seconds that ended jobs ran, summed.
        functions: Names of the functions it can run.
        cron_runs: When its cron jobs are due next, in Unix milliseconds, by name.
        cancels: It heeds requests to cancel jobs: its settings have ``allow_abort_jobs``.
    """

    worker: str
    at_ms: int
    busy: int
    slots: int
    draining: bool = False
    retiring: bool = False
    started: int = 0
    finished: Mapping[str, int] = field(default_factory=dict)
    run_seconds: float = 0.0
    functions: tuple[str, ...] = ()
    cron_runs: Mapping[str, int] = field(default_factory=dict)
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """A queue at one moment.

    Attributes:
        at_ms: When it was taken, in Unix milliseconds by Redis's clock.
        waiting: Jobs that are due and do not run.
        running: Jobs that run, on our workers or on plain arq's.
        deferred: Jobs due later.
        due_soon: Those of ``deferred`` that are due within the horizon that was asked for.
        oldest_wait_s: Seconds the longest-waiting due job has waited; 0 when none waits.
        next_due_s: Seconds until the next deferred job is due; None when none is deferred.
        heartbeats: Of the workers that were alive at ``at_ms``.
        dead_letters: Jobs that have failed for good and are kept.
    """

    at_ms: int
    waiting: int = 0
    running: int = 0
    deferred: int = 0
    due_soon: int = 0
    oldest_wait_s: float = 0.0
    next_due_s: float | None = None
    heartbeats: tuple[Heartbeat, ...] = ()
    dead_letters: int = 0
