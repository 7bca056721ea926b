"""The operator's clock is set ahead or back while it works: nothing hangs on times from before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from arqube_operator.clock import Clock
from arqube_operator.controller import Controller
from arqube_operator.decide.plan import Plan
from arqube_operator.decide.state import Identity
from arqube_operator.execute.executor import Outcome
from arqube_operator.metrics import Metrics
from arqube_operator.observe.cluster import ClusterCache, Key
from arqube_operator.observe.queues import Reading
from arqube_operator.workqueue import WorkQueue
from arqube_queue.model import Heartbeat, QueueSnapshot

START_S = 1_700_000_000.0
KEY = Key("default", "emails")
LABELS = {"arqube.dev/taskqueue": "emails"}


class Times:
    """The true time, which the monotonic clock and Redis follow, and how far the wall clock is off."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.off_s = 0.0

    def wall(self) -> float:
        return START_S + self.passed_s + self.off_s

    def steady(self) -> float:
        return self.passed_s

    def true_ms(self) -> int:
        return int((START_S + self.passed_s) * 1000)


@pytest.mark.parametrize(
    ("changes", "jumps"),
    [
        pytest.param([(1.0, 0.0)] * 10, 0, id="time passes"),
        pytest.param([(1.0, 0.01)] * 3000, 0, id="it is trimmed by half a minute, slowly"),
        pytest.param([(1.0, 600.0)], 1, id="it is set ahead"),
        pytest.param([(1.0, -600.0)], 1, id="it is set back"),
        pytest.param([(1.0, -600.0), (1.0, 0.0), (1.0, 600.0)], 2, id="it is set back, and right again"),
        pytest.param([(300.0, 0.0)], 0, id="it was not asked for long"),
    ],
)
def test_a_clock_counts_how_often_it_was_set(changes: list[tuple[float, float]], jumps: int) -> None:
    times = Times()
    clock = Clock(times.wall, times.steady)
    for passed_s, off_s in changes:
        times.passed_s += passed_s
        times.off_s += off_s
        clock.jumps()
    assert clock.jumps() == jumps
    assert clock.now() == times.wall()


class Cluster:
    """A TaskQueue with one idle worker: what the controller reads and writes, without any server."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.replicas = 1
        self.retiring: frozenset[str] = frozenset()
        self.statuses = 0
        self.queue: WorkQueue[Key] = WorkQueue()
        self.cache = ClusterCache(lambda _key, spec_changed=False: None)
        self._version = 1
        self.cache.put_task_queue(self._task_queue())
        self.controller = Controller(
            self.queue,
            self.cache,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            Metrics(CollectorRegistry()),
            "arqube-worker:1",
            Clock(times.wall, times.steady),
        )

    async def tick(self) -> None:
        """A second passes; the queue is read, and the controller looks, if that wakes it."""
        self.times.passed_s += 1
        self.controller.read(KEY, self.reading())
        if len(self.queue):
            await self.queue.get()
            await self.controller.reconcile(KEY)
            self.queue.done(KEY)

    def reading(self) -> Reading:
        beats = (
            Heartbeat("emails-worker-0", self.times.true_ms(), 0, 10, retiring="emails-worker-0" in self.retiring),
        ) * min(1, self.replicas)
        return Reading(QueueSnapshot(at_ms=self.times.true_ms(), heartbeats=beats))

    # As the observer:

    def watch(self, key: Key, address: object, query: object) -> Reading:
        return self.reading()

    def retire(self, key: Key, owner: str, workers: frozenset[str]) -> None:
        self.retiring = workers

    # As the resolver of addresses:

    async def resolve(self, namespace: str, spec: object) -> object:
        return object()

    # As the executor:

    async def find(self, namespace: str, name: str) -> dict[str, Any]:
        return self._task_queue()

    async def execute(
        self,
        identity: Identity,
        live_status: Callable[[], Mapping[str, Any]],
        plan: Plan,
        took: Callable[[Outcome], None],
    ) -> None:
        self._version += 1
        if plan.replicas is not None:
            self.replicas = plan.replicas
        if plan.apply is not None:
            took(Outcome(deployment=self._deployment(plan.apply)))
        elif plan.replicas is not None:
            metadata = {"resourceVersion": str(self._version)}
            took(Outcome(scale={"metadata": metadata, "spec": {"replicas": self.replicas}}))
        if plan.create:
            self.cache.put_pod(self._pod())
        self.statuses += plan.status is not None
        if plan.status is not None:
            took(Outcome(task_queue={**self._task_queue(), "status": plan.status.to_object()}))

    def _task_queue(self) -> dict[str, Any]:
        metadata = {"name": "emails", "namespace": "default", "uid": "u", "generation": 1}
        spec = {
            "redis": {"host": "redis"},
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
            "scaling": {"cooldown": "30s"},
        }
        return {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {**metadata, "resourceVersion": str(self._version)},
            "spec": spec,
        }

    def _deployment(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        metadata = {**manifest["metadata"], "generation": 1, "resourceVersion": str(self._version)}
        spec = {**manifest["spec"], "replicas": self.replicas}
        return {"metadata": metadata, "spec": spec, "status": {"replicas": 1, "readyReplicas": 1}}

    def _pod(self) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(START_S)}
        return {
            "metadata": {
                "name": "emails-worker-0",
                "namespace": "default",
                "labels": LABELS,
                "resourceVersion": "1",
                "creationTimestamp": rfc3339(START_S - 5),
            },
            "status": {"conditions": [ready]},
        }


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("off_s", [-600.0, 600.0])
@pytest.mark.parametrize("after_s", [2, 10, 40])
async def test_an_idle_worker_goes_though_the_clock_was_set(off_s: float, after_s: int) -> None:
    cluster = Cluster(Times())
    for second in range(180):
        if second == after_s:
            cluster.times.off_s = off_s
        await cluster.tick()
    assert cluster.replicas == 0
    assert cluster.retiring == frozenset()
