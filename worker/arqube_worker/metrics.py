"""The worker's Prometheus metrics. Labels are bounded: functions this worker has, outcomes of ``Outcome``.

What is counted for each job is summed in plain numbers, and made into series when it is asked for: at thousands of jobs
a second the client library's own counters cost more than the jobs' bookkeeping.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from arqube_queue.dead_letters import REASONS
from arqube_worker.runs import UNKNOWN_FUNCTION, Outcome, Run

# Jobs take from milliseconds to arq's default timeout of 300 s, and some users' an hour.
_DURATION_BUCKETS: Final = (
    0.005,
    0.025,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
)
_WAIT_BUCKETS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    7200.0,
)


# Shown from the start, so that rates see the first; the others are rare, and each costs a series a function.
_SHOWN_OUTCOMES: Final = (
    Outcome.SUCCEEDED,
    Outcome.FAILED,
    Outcome.RETRIED,
    Outcome.RETURNED,
    Outcome.PUT_BACK,
    Outcome.LEASE_LOST,
)
_BURIED: Final = frozenset(
    (Outcome.FAILED, Outcome.EXPIRED, Outcome.UNDECODABLE, Outcome.UNKNOWN_FUNCTION, Outcome.TRIES_EXHAUSTED)
)


class _Times:
    """A histogram's sums: values by bucket, and their total."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        found, sum_ = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            sum_ += count
            found.append((bound, float(sum_)))
        return found


class _Sums:
    """What is known of one function's jobs."""

    __slots__ = ("durations", "outcomes", "waits")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(_SHOWN_OUTCOMES, 0)
        self.durations = _Times(_DURATION_BUCKETS)
        self.waits = _Times(_WAIT_BUCKETS)


class _Counted(Collector):
    """Makes the series of what is summed. Read by another thread than the one that counts: a job more or less.

    They come without the ``*_created`` series that the client library's own counters add, of which nobody reads any.
    """

    def __init__(self, metrics: Metrics, sums: dict[str, _Sums]) -> None:
        self._metrics = metrics
        self._sums = sums

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield CounterMetricFamily("arqube_worker_redis_errors", "Calls to Redis that failed.", metrics.redis_errors)
        yield CounterMetricFamily("arqube_worker_turns", "Calls that ended jobs and took others.", metrics.turns)
        buried = CounterMetricFamily(
            "arqube_worker_dead_letters", "Jobs that failed for good and are kept, by reason.", labels=("reason",)
        )
        for reason, count in metrics.dead_letters.items():
            buried.add_metric((reason,), count)
        yield buried
        jobs = CounterMetricFamily(
            "arqube_worker_jobs", "Jobs that ended, by function and outcome.", labels=("function", "outcome")
        )
        durations = HistogramMetricFamily("arqube_worker_job_duration_seconds", "Time jobs ran.", labels=("function",))
        waits = HistogramMetricFamily(
            "arqube_worker_job_wait_seconds", "Time from when a job was due to its start.", labels=("function",)
        )
        for function, sums in list(self._sums.items()):
            for outcome, count in list(sums.outcomes.items()):
                jobs.add_metric((function, outcome.value), count)
            if function != UNKNOWN_FUNCTION:
                durations.add_metric((function,), sums.durations.buckets(), sums.durations.total)
                waits.add_metric((function,), sums.waits.buckets(), sums.waits.total)
        yield from (jobs, durations, waits)


class Metrics:
    """What one worker exports. A job's function that is not among ``functions`` is counted as ``unknown``.

    Attributes:
        redis_errors: Calls to Redis that failed.
        turns: Calls that ended jobs and took others.
        dead_letters: Jobs that failed for good, by reason.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.redis_errors = 0
        self.turns = 0
        self.dead_letters = dict.fromkeys(REASONS, 0)
        self._sums: dict[str, _Sums] = {}
        self._unknown = _Sums()
        self._unknown.outcomes.clear()
        registry.register(_Counted(self, self._sums))
        self.slots = Gauge("arqube_worker_slots", "Jobs the worker may run at once.", registry=registry)
        self._busy_slots = Gauge("arqube_worker_busy_slots", "Jobs the worker runs now.", registry=registry)
        self.draining = Gauge("arqube_worker_draining", "1 while the worker takes no more jobs.", registry=registry)
        self.retiring = Gauge(
            "arqube_worker_retiring", "1 while the operator asks the worker to take no more jobs.", registry=registry
        )
        self._info = Info("arqube_worker", "The worker, its queue and versions.", registry=registry)

    def describe(
        self, *, worker: str, queue: str, slots: int, functions: Collection[str], busy: Callable[[], int]
    ) -> None:
        """Say which worker this is; every function's series exist from then on, so that rates see the first job."""
        self.slots.set(slots)
        self._busy_slots.set_function(lambda: float(busy()))
        self._info.info({"worker": worker, "queue": queue, "version": version("arqube"), "arq_version": version("arq")})
        self._sums.update((function, _Sums()) for function in functions)

    def started(self, run: Run) -> None:
        """A job's coroutine begins."""
        wait_s = run.wait_s
        if wait_s is not None and run.score > 1:  # arq moves a job to score 1 to abort it: no due time
            self._of(run).waits.observe(wait_s)

    def ended(self, run: Run, outcome: Outcome) -> None:
        """A job ended in this worker, whether it was started or not."""
        sums = self._of(run)
        sums.outcomes[outcome] = sums.outcomes.get(outcome, 0) + 1
        if run.death is not None and outcome in _BURIED:
            self.dead_letters[run.death] += 1
        duration_s = run.duration_s
        if duration_s is not None and outcome is not Outcome.RETURNED:
            sums.durations.observe(duration_s)

    def _of(self, run: Run) -> _Sums:
        sums = self._sums.get(run.function or "")
        if sums is None:
            sums = self._sums[UNKNOWN_FUNCTION] = self._unknown
        return sums
