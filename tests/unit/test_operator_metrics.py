"""What the operator's series and the status say of a queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from arqube_local.monitoring import examples
from arqube_operator.api.v1alpha1 import RedisSpec, ScalingSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.decide.manifest import TASK_QUEUE_LABEL
from arqube_operator.decide.plan import decide
from arqube_operator.decide.state import Identity, State
from arqube_operator.metrics import Metrics
from arqube_operator.observe.cluster import ClusterCache
from arqube_operator.observe.objects import WorkerEnd
from arqube_queue.model import QueueSnapshot

KEY = ("shop", "emails")
LABELS = {"namespace": "shop", "taskqueue": "emails"}
STATE = State(
    identity=Identity(name="emails", namespace="shop", uid="u-1", generation=1),
    spec=TaskQueueSpec(redis=RedisSpec(host="redis"), worker=WorkerSpec(image="app:1", settings="app.WorkerSettings")),
    status=TaskQueueStatus(),
    runtime_image="arqube-worker:1",
    queue=QueueSnapshot(at_ms=0, waiting=4, running=3, deferred=2, oldest_wait_s=1.5, dead_letters=7),
)


def test_the_series_and_the_status_say_what_the_snapshot_says() -> None:
    registry = CollectorRegistry()
    plan = decide(STATE, 1_700_000_000.0)
    Metrics(registry).decided(KEY, STATE, plan)

    shown = {
        name: registry.get_sample_value(f"arqube_taskqueue_{name}", LABELS)
        for name in ("waiting_jobs", "running_jobs", "deferred_jobs", "oldest_wait_seconds", "dead_letters")
    }
    assert shown == {
        "waiting_jobs": 4,
        "running_jobs": 3,
        "deferred_jobs": 2,
        "oldest_wait_seconds": 1.5,
        "dead_letters": 7,
    }
    assert plan.status is not None
    assert plan.status.to_object()["queue"] | {"oldestWait": "1s", "dueSoon": 0} == {
        "waiting": 4,
        "running": 3,
        "deferred": 2,
        "dueSoon": 0,
        "oldestWait": "1s",
        "deadLetters": 7,
    }


def test_what_a_decision_stands_on_is_shown_with_its_terms_and_the_limit_that_binds() -> None:
    registry = CollectorRegistry()
    spec = STATE.spec.model_copy(update={"scaling": ScalingSpec(max_replicas=2, jobs_per_replica=1)})
    state = replace(STATE, spec=spec)
    plan = decide(state, 1_700_000_000.0)
    Metrics(registry).decided(KEY, state, plan)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"arqube_taskqueue_{name}", LABELS | labels)

    assert value("desired_replicas") == 2
    assert value("max_replicas") == 2
    assert value("term_replicas", term="Jobs") == 7
    assert value("limited", limit="MaxReplicas") == 1
    assert value("retiring_replicas") == 0
    assert value("startup_seconds") == 10


def test_the_target_has_a_series_only_where_it_is_a_time() -> None:
    def target(scaling: ScalingSpec) -> float | None:
        registry = CollectorRegistry()
        state = replace(STATE, spec=STATE.spec.model_copy(update={"scaling": scaling}))
        Metrics(registry).decided(KEY, state, decide(state, 1_700_000_000.0))
        return registry.get_sample_value("arqube_taskqueue_max_wait_seconds", LABELS)

    assert target(ScalingSpec()) == 30
    assert target(ScalingSpec(max_wait="5m")) == 300
    assert target(ScalingSpec(jobs_per_replica=3)) is None


def test_a_figure_that_is_not_known_has_no_series() -> None:
    registry = CollectorRegistry()
    state = replace(STATE, queue=None)
    Metrics(registry).decided(KEY, state, decide(state, 1_700_000_000.0))

    assert registry.get_sample_value("arqube_taskqueue_waiting_jobs", LABELS) is None
    assert registry.get_sample_value("arqube_taskqueue_redis_up", LABELS) == 0


def series_of_task_queues(registry: CollectorRegistry) -> list[str]:
    return [sample.name for metric in registry.collect() for sample in metric.samples if "taskqueue" in sample.labels]


def test_a_task_queue_that_is_gone_leaves_no_series() -> None:
    registry, metrics = examples.operator()
    assert series_of_task_queues(registry)
    metrics.forget(examples.KEY)
    assert series_of_task_queues(registry) == []


def test_a_pod_that_goes_after_its_task_queue_brings_no_series_back() -> None:
    registry, metrics = examples.operator()
    metrics.forget(examples.KEY)
    metrics.worker_ended(examples.KEY, WorkerEnd.KILLED)
    assert series_of_task_queues(registry) == []


def test_a_replica_that_leads_no_more_tells_of_no_task_queue() -> None:
    registry, metrics = examples.operator()
    metrics.forget_all()
    assert series_of_task_queues(registry) == []


def test_how_worker_pods_ended_is_counted_from_zero() -> None:
    registry, metrics = examples.operator()
    metrics.worker_ended(examples.KEY, WorkerEnd.KILLED)
    assert {
        end: registry.get_sample_value("arqube_taskqueue_worker_ends_total", LABELS | {"outcome": end.value})
        for end in WorkerEnd
    } == {WorkerEnd.CLEAN: 0, WorkerEnd.FAILED: 0, WorkerEnd.KILLED: 1}


def test_a_change_of_the_number_of_workers_is_counted_with_its_reason() -> None:
    registry, _ = examples.operator()
    labels = LABELS | {"direction": "up", "reason": "AtMaxReplicas"}
    assert registry.get_sample_value("arqube_taskqueue_scalings_total", labels) == 1


def test_a_rate_sees_the_first_scale_down() -> None:
    registry, _ = examples.operator()
    labels = LABELS | {"direction": "down", "reason": "ScalingDown"}
    assert registry.get_sample_value("arqube_taskqueue_scalings_total", labels) == 0


def test_the_process_tells_how_many_task_queues_it_acts_for_and_what_it_asks_the_api_server() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert registry.get_sample_value("arqube_operator_taskqueues") == 0

    metrics.decided(KEY, STATE, decide(STATE, 1_700_000_000.0))
    metrics.api_answered("patch", "taskqueues/status", 409)

    assert registry.get_sample_value("arqube_operator_taskqueues") == 1
    labels = {"verb": "patch", "resource": "taskqueues/status", "code": "409"}
    assert registry.get_sample_value("arqube_operator_api_requests_total", labels) == 1
    metrics.forget(KEY)
    assert registry.get_sample_value("arqube_operator_taskqueues") == 0


@pytest.mark.parametrize(
    ("status", "end"),
    [
        pytest.param({"terminated": {"exitCode": 0}}, WorkerEnd.CLEAN, id="it exited with 0"),
        pytest.param({"terminated": {"exitCode": 1}}, WorkerEnd.FAILED, id="it exited with an error"),
        pytest.param({"terminated": {"exitCode": 137}}, WorkerEnd.KILLED, id="it was killed"),
        pytest.param({"running": {}}, None, id="nobody has told how it ended"),
        pytest.param({"waiting": {}}, None, id="it never ran"),
    ],
)
def test_how_a_worker_pod_ended(status: dict[str, Any], end: WorkerEnd | None) -> None:
    ended: list[WorkerEnd] = []
    cache = ClusterCache(lambda *_, **__: None, lambda _key, how: ended.append(how))
    metadata = {
        "namespace": "shop",
        "name": "emails-worker-1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {TASK_QUEUE_LABEL: "emails"},
    }
    sidecar = {"name": "proxy", "state": {"terminated": {"exitCode": 143}}}
    pod = {
        "metadata": metadata | {"resourceVersion": "1"},
        "status": {"containerStatuses": [sidecar, {"name": "worker", "state": status}]},
    }
    cache.put_pod(pod)
    assert ended == []
    gone = pod | {"metadata": metadata | {"resourceVersion": "2"}}
    cache.put_pod(gone, gone=True)
    cache.put_pod(gone, gone=True)
    assert ended == ([] if end is None else [end])
