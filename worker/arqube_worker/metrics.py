"""The worker's Prometheus metrics. Labels are bounded: functions this worker has, outcomes of ``Outcome``."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from arqube_worker.runs import UNKNOWN_FUNCTION, Outcome, Run

# Jobs take from milliseconds to arq's default timeout of 300 s, and some users' an hour.
_DURATION_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_WAIT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


class Metrics:
    """What one worker exports. A job's function that is not among ``functions`` is counted as ``unknown``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._functions: Collection[str] = ()
        self._jobs = Counter(
            "arqube_worker_jobs",
            "Jobs that ended, by function and outcome.",
            ["function", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "arqube_worker_job_duration_seconds",
            "Time jobs ran.",
            ["function"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self._wait = Histogram(
            "arqube_worker_job_wait_seconds",
            "Time from when a job was due to its start.",
            ["function"],
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self.slots = Gauge("arqube_worker_slots", "Jobs the worker may run at once.", registry=registry)
        self.busy_slots = Gauge("arqube_worker_busy_slots", "Jobs the worker runs now.", registry=registry)
        self.draining = Gauge("arqube_worker_draining", "1 while the worker takes no more jobs.", registry=registry)
        self.redis_errors = Counter("arqube_worker_redis_errors", "Calls to Redis that failed.", registry=registry)
        self._info = Info("arqube_worker", "The worker, its queue and versions.", registry=registry)

    def describe(self, *, worker: str, queue: str, slots: int, functions: Collection[str]) -> None:
        """Say which worker this is; every function's series exist from then on, so that rates see the first job."""
        self._functions = functions
        self.slots.set(slots)
        self._info.info({"worker": worker, "queue": queue, "version": version("arqube"), "arq_version": version("arq")})
        for function in functions:
            self._duration.labels(function)
            self._wait.labels(function)
            for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RETRIED):
                self._jobs.labels(function, outcome)

    def started(self, run: Run) -> None:
        """A job's coroutine begins."""
        if run.wait_s is not None and run.job.score > 1:  # arq moves a job to score 1 to abort it: no due time
            self._wait.labels(self._label(run)).observe(run.wait_s)

    def ended(self, run: Run, outcome: Outcome) -> None:
        """A job ended in this worker, whether it was started or not."""
        self._jobs.labels(self._label(run), outcome).inc()
        if run.duration_s is not None and outcome is not Outcome.RETURNED:
            self._duration.labels(self._label(run)).observe(run.duration_s)

    def _label(self, run: Run) -> str:
        return run.function if run.function in self._functions and run.function else UNKNOWN_FUNCTION
