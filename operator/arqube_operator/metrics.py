"""The operator's Prometheus metrics. Labels are bounded: a TaskQueue's series go when it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from arqube_operator.decide.plan import Plan
from arqube_operator.decide.state import State
from arqube_operator.observe.cluster import Key

_TASK_QUEUE: Final = ("namespace", "taskqueue")


class Metrics:
    """All series of one operator process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"arqube_taskqueue_{name}", text, _TASK_QUEUE, registry=registry)

        self._waiting = gauge("waiting_jobs", "Jobs that are due and do not run.")
        self._running = gauge("running_jobs", "Jobs that run.")
        self._deferred = gauge("deferred_jobs", "Jobs that are due later.")
        self._oldest_wait = gauge("oldest_wait_seconds", "Wait of the longest-waiting due job.")
        self._dead_letters = gauge("dead_letters", "Jobs that have failed for good and are kept.")
        self._desired = gauge("desired_replicas", "Workers there should be.")
        self._ready = gauge("ready_replicas", "Workers that take jobs.")
        self._max = gauge("max_replicas", "Most workers there may be.")
        self._redis_up = gauge("redis_up", "1 while the queue can be read, else 0.")
        self._of_task_queue = (
            self._waiting,
            self._running,
            self._deferred,
            self._oldest_wait,
            self._dead_letters,
            self._desired,
            self._ready,
            self._max,
            self._redis_up,
        )
        self._scalings = Counter(
            "arqube_taskqueue_scalings",
            "Writes of the number of workers.",
            (*_TASK_QUEUE, "direction"),
            registry=registry,
        )
        self._failures = Counter(
            "arqube_operator_reconcile_failures", "Reconcile passes that failed.", ("cause",), registry=registry
        )
        self._reconciles = Histogram(
            "arqube_operator_reconcile_duration_seconds", "Time of one reconcile pass.", registry=registry
        )
        self._redis_errors = Counter(
            "arqube_operator_redis_errors", "Reads of a Redis that failed.", ("reason",), registry=registry
        )
        self.leader = Gauge("arqube_operator_leader", "1 while this replica acts, else 0.", registry=registry)

    @contextmanager
    def reconciling(self) -> Iterator[None]:
        """Time one pass."""
        with self._reconciles.time():
            yield

    def failed(self, cause: str) -> None:
        """A pass failed for one of a few causes."""
        self._failures.labels(cause).inc()

    def redis_failed(self, reason: str) -> None:
        """A Redis could not be read."""
        self._redis_errors.labels(reason).inc()

    def decided(self, key: Key, state: State, plan: Plan) -> None:
        """Show what was seen of a TaskQueue and what was decided."""
        live, queue, decision = state.deployment, state.queue, plan.decision
        if queue is not None:
            self._waiting.labels(*key).set(queue.waiting)
            self._running.labels(*key).set(queue.running)
            self._deferred.labels(*key).set(queue.deferred)
            self._oldest_wait.labels(*key).set(queue.oldest_wait_s)
            self._dead_letters.labels(*key).set(queue.dead_letters)
        if decision.replicas is not None:
            self._desired.labels(*key).set(decision.replicas)
        self._ready.labels(*key).set(live.ready_replicas if live else 0)
        self._max.labels(*key).set(state.spec.scaling.max_replicas)
        self._redis_up.labels(*key).set(state.redis_problem is None and queue is not None)
        if live is not None and plan.replicas is not None:
            self._scalings.labels(*key, "up" if plan.replicas > live.spec_replicas else "down").inc()

    def forget(self, key: Key) -> None:
        """Drop the series of a TaskQueue that is gone."""
        for gauge in self._of_task_queue:
            gauge.remove_by_labels(dict(zip(_TASK_QUEUE, key, strict=True)))
        self._scalings.remove_by_labels(dict(zip(_TASK_QUEUE, key, strict=True)))
