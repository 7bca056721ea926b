"""A TaskQueue as the scaling policy sees it: at rest for an hour, unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from arqube_operator.api.v1alpha1 import (
    RedisSpec,
    ScalingSpec,
    TaskQueueSpec,
    TaskQueueStatus,
    WorkerSpec,
)
from arqube_operator.decide.scaling import ScalingMemory
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.scaling.learning import Learned, Rate, Service
from arqube_operator.decide.state import Deployment, Identity, Memory, Pod, Problem, State
from arqube_queue.model import Heartbeat, QueueSnapshot

NOW = 1_767_614_400.0  # Monday 2026-01-05, 12:00 UTC
IDENTITY = Identity(name="emails", namespace="default", uid="u-1", generation=1)
AWAY = Problem("RedisUnreachable", "Redis at redis:6379/0 does not answer: refused")
TEMPLATE = template_hash("app:1", "app.WorkerSettings")
NO_CRONS = KnownCrons(TEMPLATE)


def learned(
    *, per_s: float | None = 0.0, low: float | None = None, high: float | None = None, service_s: float | None = 4.0
) -> Learned:
    """What is known: the rate with its bounds, and the service time of a hundred jobs."""
    rate = per_s or 0.0
    service = Service() if service_s is None else Service(100 * service_s, 100 * service_s, 100)
    return Learned(rate=Rate(rate if low is None else low, per_s, rate if high is None else high), service=service)


def memory(**changes: Any) -> ScalingMemory:
    """Of a queue without work for an hour and without cron jobs."""
    return replace(ScalingMemory(learned=learned(), crons=NO_CRONS, worked_s=NOW - 3600), **changes)


def workers(count: int, *, busy: int = 0, slots: int = 10, retiring: int = 0) -> dict[str, Any]:
    """Ready pods and their heartbeats; the last ``retiring`` of them have heeded their retirement."""
    names = [f"w{number}" for number in range(count)]
    told = [
        Heartbeat(name, int(NOW * 1000), busy, slots, retiring=number >= count - retiring)
        for number, name in enumerate(names)
    ]
    pods = tuple(Pod(name, NOW - 600 - number, NOW - 590 - number) for number, name in enumerate(names))
    return {"current": count, "pods": pods, "heartbeats": tuple(told)}


def state(
    *,
    waiting: int = 0,
    running: int = 0,
    due_soon: int = 0,
    next_due_s: float | None = None,
    oldest_wait_s: float = 0.0,
    current: int | None = 0,
    pods: tuple[Pod, ...] = (),
    heartbeats: tuple[Heartbeat, ...] = (),
    concurrency: int = 10,
    replicas: int | None = None,
    remembered: ScalingMemory | None = None,
    since_s: float | None = NOW - 7200,
    read: bool = True,
    problem: Problem | None = None,
    status: TaskQueueStatus | None = None,
    **scaling: Any,
) -> State:
    queue = QueueSnapshot(
        at_ms=int(NOW * 1000),
        waiting=waiting,
        running=running,
        due_soon=due_soon,
        next_due_s=next_due_s,
        oldest_wait_s=oldest_wait_s,
        heartbeats=heartbeats,
    )
    return State(
        identity=IDENTITY,
        spec=TaskQueueSpec(
            redis=RedisSpec(host="redis"),
            worker=WorkerSpec(image="app:1", settings="app.WorkerSettings", concurrency=concurrency),
            scaling=ScalingSpec.model_validate(scaling, by_name=True),
            replicas=replicas,
        ),
        status=status or TaskQueueStatus(),
        runtime_image="arqube-worker:1",
        deployment=None if current is None else Deployment(spec_hash="h", generation=1, spec_replicas=current),
        pods=pods,
        queue=queue if read else None,
        redis_problem=problem,
        memory=Memory(since_s=since_s, scaling=remembered),
    )
