"""A TaskQueue as the plan sees it: one worker that runs one job, settled an hour ago, unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from arqube_operator.api.v1alpha1 import (
    RedisSpec,
    ScalingSpec,
    ScalingStatus,
    TaskQueueSpec,
    TaskQueueStatus,
    WorkerSpec,
)
from arqube_operator.decide.manifest import spec_hash
from arqube_operator.decide.plan import Plan, decide
from arqube_operator.decide.scaling import ScalingMemory
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.state import Deployment, Identity, Memory, Problem, State
from arqube_queue.model import QueueSnapshot

NOW = 1_700_000_000.0
RUNTIME = "arqube-worker:1"
IDENTITY = Identity(name="emails", namespace="shop", uid="u-1", generation=3)
SPEC = TaskQueueSpec(
    redis=RedisSpec(host="redis"),
    worker=WorkerSpec(image="app:1", settings="app.WorkerSettings"),
    scaling=ScalingSpec(cooldown="30s"),
)
HASH = spec_hash(IDENTITY, SPEC, RUNTIME)
NO_CRONS = ScalingMemory(crons=KnownCrons(template_hash("app:1", "app.WorkerSettings")))
SETTLED = Memory(since_s=NOW - 3600, scaling=NO_CRONS, applied_generation=7, applied_s=NOW - 10, status_s=NOW - 60)
AWAY = Problem("RedisUnreachable", "Redis at redis:6379/0 does not answer: refused")


def live(replicas: int, *, ready: int | None = None, **changes: Any) -> Deployment:
    ready = replicas if ready is None else ready
    base = Deployment(spec_hash=HASH, generation=7, spec_replicas=replicas, replicas=replicas, ready_replicas=ready)
    return replace(base, **changes)


def state(**changes: Any) -> State:
    base = State(
        identity=IDENTITY,
        spec=SPEC,
        status=TaskQueueStatus(),
        runtime_image=RUNTIME,
        deployment=live(1),
        queue=QueueSnapshot(at_ms=0, running=1),
        memory=SETTLED,
    )
    return replace(base, **changes)


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    assert plan.status is not None
    return {condition.type: (condition.status, condition.reason) for condition in plan.status.conditions}


def reasons(plan: Plan) -> list[str]:
    return [event.reason for event in (*plan.deeds, *plan.transitions)]


def shown(given: State, now: float = NOW) -> State:
    """``given`` after its status was written at ``now``."""
    plan = decide(given, now)
    assert plan.status is not None
    return replace(given, status=plan.status, memory=plan.memory)


def limited(**scaling: Any) -> State:
    """Ten jobs a worker are asked for by thirty, of which one worker runs."""
    spec = SPEC.model_copy(update={"scaling": ScalingSpec(jobs_per_replica=10, **scaling)})
    return state(spec=spec, queue=QueueSnapshot(at_ms=0, waiting=30))


def full(given: State, now: float = NOW) -> ScalingStatus:
    status = decide(given, now).status
    assert status is not None
    assert status.scaling is not None
    return status.scaling
