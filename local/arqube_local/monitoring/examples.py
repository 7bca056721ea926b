"""Both sets of metrics with every series in them: what the reference is made of, and what tests look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from prometheus_client import CollectorRegistry

from arqube_operator.api.v1alpha1 import RedisSpec, ScalingSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.decide.plan import decide
from arqube_operator.decide.state import Deployment, Identity, State
from arqube_operator.metrics import Metrics as OperatorMetrics
from arqube_operator.observe.cluster import Key
from arqube_queue.model import QueueSnapshot
from arqube_queue.turns import Lease
from arqube_worker.metrics import Metrics as WorkerMetrics
from arqube_worker.runs import Outcome, Run

KEY: Final = Key("shop", "emails")
_NOW: Final = 1_700_000_000.0


def operator() -> tuple[CollectorRegistry, OperatorMetrics]:
    """An operator that has just asked for more workers of a TaskQueue with more jobs than its maximum can take."""
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)
    worker = WorkerSpec(image="app:1", settings="app.WorkerSettings")
    state = State(
        identity=Identity(name=KEY.name, namespace=KEY.namespace, uid="u-1", generation=1),
        spec=TaskQueueSpec(redis=RedisSpec(host="redis"), worker=worker, scaling=ScalingSpec(max_replicas=2)),
        status=TaskQueueStatus(),
        runtime_image="arqube-worker:1",
        deployment=Deployment("", generation=1, spec_replicas=1, replicas=1, ready_replicas=1),
        queue=QueueSnapshot(at_ms=0, waiting=400, running=3, deferred=2, oldest_wait_s=1.5, dead_letters=7),
    )
    plan = decide(state, _NOW)
    learned = None if plan.decision.inputs is None else replace(plan.decision.inputs, arrivals_per_s=3.0, service_s=0.5)
    metrics.decided(KEY, state, replace(plan, decision=replace(plan.decision, inputs=learned)))
    metrics.api_answered("patch", "deployments/scale", 200)
    return registry, metrics


def worker() -> tuple[CollectorRegistry, WorkerMetrics]:
    """A worker that has run one job of its function ``send``."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    metrics.describe(worker="emails-1", queue="arq:queue", slots=10, functions=("send",), busy=lambda: 1)
    run = Run(
        Lease("1", str(int(_NOW * 1000)).encode(), 1, "token"), function="send", started_at=_NOW, ended_at=_NOW + 1
    )
    metrics.started(run)
    metrics.ended(run, Outcome.SUCCEEDED)
    return registry, metrics
