"""The operator's Prometheus metrics. Labels are bounded: a TaskQueue's series go when it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arqube_operator.api.v1alpha1 import ScalingSpec
from arqube_operator.decide.plan import Plan
from arqube_operator.decide.scaling import Decision, Inputs
from arqube_operator.decide.state import Deployment, State
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.objects import WorkerEnd
from arqube_queue.model import QueueSnapshot

_TASK_QUEUE: Final = ("namespace", "taskqueue")
_SCALINGS: Final = (("up", "ScalingUp"), ("up", "AtMaxReplicas"), ("down", "ScalingDown"))
"""The usual ones: shown from the start, so that rates see the first."""
_FAILURE_CAUSES: Final = ("api", "defect", "invalid")
_REDIS_PROBLEMS: Final = ("RedisUnreachable", "RedisAuthenticationFailed")
_DELAYS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of the ticks' delays, in seconds: the tick itself, 1 s, is one of the limits."""


class _Shown(NamedTuple):
    """What was last seen of a TaskQueue and decided: no more of it, as there may be thousands."""

    queue: QueueSnapshot | None
    readable: bool
    live: Deployment | None
    bounds: ScalingSpec
    decision: Decision
    retiring: int


def _of_queue(read: Callable[[QueueSnapshot], float]) -> Callable[[_Shown], float | None]:
    return lambda shown: None if shown.queue is None else read(shown.queue)


def _of_inputs(read: Callable[[Inputs], float | None]) -> Callable[[_Shown], float | None]:
    def value(shown: _Shown) -> float | None:
        inputs = shown.decision.inputs
        return None if inputs is None else read(inputs)

    return value


def _desired(shown: _Shown) -> float | None:
    replicas = shown.decision.replicas
    return replicas if replicas is not None or shown.live is None else shown.live.spec_replicas


_GAUGES: Final[tuple[tuple[str, str, Callable[[_Shown], float | None]], ...]] = (
    ("waiting_jobs", "Jobs that are due and do not run.", _of_queue(lambda queue: queue.waiting)),
    ("running_jobs", "Jobs that run.", _of_queue(lambda queue: queue.running)),
    ("deferred_jobs", "Jobs that are due later.", _of_queue(lambda queue: queue.deferred)),
    ("due_soon_jobs", "Jobs that are due before a new pod is ready.", _of_queue(lambda queue: queue.due_soon)),
    ("oldest_wait_seconds", "Wait of the longest-waiting due job.", _of_queue(lambda queue: queue.oldest_wait_s)),
    ("dead_letters", "Jobs that have failed for good and are kept.", _of_queue(lambda queue: queue.dead_letters)),
    ("arrivals_per_second", "Jobs that become due a second.", _of_inputs(lambda inputs: inputs.arrivals_per_s)),
    ("service_seconds", "Time a job runs on average.", _of_inputs(lambda inputs: inputs.service_s)),
    ("startup_seconds", "Time a new pod needs until it is ready.", _of_inputs(lambda inputs: inputs.startup_s)),
    ("busy_slots", "Jobs that the pods run.", _of_inputs(lambda inputs: inputs.busy_slots)),
    ("slots", "Jobs that the ready pods can run at once.", _of_inputs(lambda inputs: inputs.slots)),
    ("desired_replicas", "Workers there should be.", _desired),
    (
        "ready_replicas",
        "Workers that take jobs.",
        lambda shown: shown.live.ready_replicas if shown.live else 0,
    ),
    ("retiring_replicas", "Workers asked to take no more jobs.", lambda shown: shown.retiring),
    ("max_replicas", "Most workers there may be.", lambda shown: shown.bounds.max_replicas),
    ("min_replicas", "Fewest workers there may be.", lambda shown: shown.bounds.min_replicas),
    ("max_wait_seconds", "Time within which a due job should start.", lambda shown: shown.bounds.max_wait_s),
    (
        "redis_up",
        "1 while the queue can be read, else 0.",
        lambda shown: shown.readable,
    ),
)


class _TaskQueues(Collector):
    """Makes the series of all TaskQueues when they are asked for: far more is decided than is scraped."""

    def __init__(self, shown: dict[Key, _Shown]) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        all_shown = list(self._shown.items())
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"arqube_taskqueue_{name}", text, labels=_TASK_QUEUE)
            for key, shown in all_shown:
                if (value := read(shown)) is not None:
                    gauge.add_metric(key, value)
            yield gauge
        terms = GaugeMetricFamily(
            "arqube_taskqueue_term_replicas",
            "Workers that a term of the decision asks for.",
            labels=(*_TASK_QUEUE, "term"),
        )
        limited = GaugeMetricFamily(
            "arqube_taskqueue_limited",
            "1 for the limit that keeps the number of workers from what the terms ask for.",
            labels=(*_TASK_QUEUE, "limit"),
        )
        for key, shown in all_shown:
            decision = shown.decision
            for term in decision.terms:
                terms.add_metric((*key, term.name), term.replicas)
            if decision.limit is not None:
                limited.add_metric((*key, decision.limit), 1)
        yield from (terms, limited)


class Metrics:
    """All series of one operator process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Nobody reads the *_created series. For the whole process, which is ours alone.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        ProcessCollector(registry=registry)
        self._shown: dict[Key, _Shown] = {}
        registry.register(_TaskQueues(self._shown))
        self._scalings = Counter(
            "arqube_taskqueue_scalings",
            "Decisions to change the number of workers, by direction and reason.",
            (*_TASK_QUEUE, "direction", "reason"),
            registry=registry,
        )
        self._ends = Counter(
            "arqube_taskqueue_worker_ends",
            "Worker pods that went, by how they ended.",
            (*_TASK_QUEUE, "outcome"),
            registry=registry,
        )
        self._failures = Counter(
            "arqube_operator_reconcile_failures", "Reconcile passes that failed.", ("cause",), registry=registry
        )
        self._reconciles = Histogram(
            "arqube_operator_reconcile_duration_seconds", "Time of one reconcile pass.", registry=registry
        )
        self._tick_delays = Histogram(
            "arqube_operator_tick_delay_seconds",
            "Time from when the queues of one Redis were due to be read to when that began.",
            registry=registry,
            buckets=_DELAYS,
        )
        self._redis_pipelines = Counter(
            "arqube_operator_redis_pipelines", "Pipelines of reads that were sent to a Redis.", registry=registry
        )
        self._redis_errors = Counter(
            "arqube_operator_redis_errors", "Reads of a Redis that failed.", ("reason",), registry=registry
        )
        # From the start, so that rates see the first.
        for cause in _FAILURE_CAUSES:
            self._failures.labels(cause)
        for reason in _REDIS_PROBLEMS:
            self._redis_errors.labels(reason)
        self._api_requests = Counter(
            "arqube_operator_api_requests",
            "Requests to the API server by their answers; but for the watch of TaskQueues.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        task_queues = Gauge("arqube_operator_taskqueues", "TaskQueues that this replica acts for.", registry=registry)
        task_queues.set_function(lambda: len(self._shown))
        self.waiting = Gauge("arqube_operator_waiting_passes", "TaskQueues that wait for a pass.", registry=registry)
        self.leader = Gauge("arqube_operator_leader", "1 while this replica acts, else 0.", registry=registry)

    @contextmanager
    def reconciling(self) -> Iterator[None]:
        """Time one pass."""
        with self._reconciles.time():
            yield

    def failed(self, cause: str) -> None:
        """A pass failed for one of a few causes."""
        self._failures.labels(cause).inc()

    def ticked(self, delay_s: float) -> None:
        """The queues of one Redis begin to be read, ``delay_s`` seconds after they were due to be."""
        self._tick_delays.observe(delay_s)

    def redis_asked(self) -> None:
        """A pipeline of reads is sent to a Redis."""
        self._redis_pipelines.inc()

    def redis_failed(self, reason: str) -> None:
        """A Redis could not be read."""
        self._redis_errors.labels(reason).inc()

    def api_answered(self, verb: str, resource: str, status: int) -> None:
        """The API server answered a request with that HTTP status; 0 where no answer came."""
        self._api_requests.labels(verb, resource, str(status)).inc()

    def decided(self, key: Key, state: State, plan: Plan) -> None:
        """Show what was seen of a TaskQueue and what was decided."""
        live = state.deployment
        readable = state.redis_problem is None and state.queue is not None
        bounds, retiring = state.spec.scaling, len(plan.retire)
        if key not in self._shown:
            for end in WorkerEnd:
                self._ends.labels(*key, end.value)
            for direction, reason in _SCALINGS:
                self._scalings.labels(*key, direction, reason)
        self._shown[key] = _Shown(state.queue, readable, live, bounds, plan.decision, retiring)
        if live is not None and plan.replicas is not None:
            direction = "up" if plan.replicas > live.spec_replicas else "down"
            self._scalings.labels(*key, direction, plan.decision.reason).inc()

    def worker_ended(self, key: Key, end: WorkerEnd) -> None:
        """A worker pod went. Those of a TaskQueue that has gone before them are not counted: its series are gone."""
        if key in self._shown:
            self._ends.labels(*key, end.value).inc()

    def forget(self, key: Key) -> None:
        """Drop the series of a TaskQueue that is gone."""
        self._shown.pop(key, None)
        for counter in (self._scalings, self._ends):
            counter.remove_by_labels(dict(zip(_TASK_QUEUE, key, strict=True)))

    def forget_all(self) -> None:
        """Drop the series of all TaskQueues: another replica acts, and tells of them."""
        for key in list(self._shown):
            self.forget(key)
