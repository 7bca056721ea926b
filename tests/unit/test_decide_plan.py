"""The whole plan: what is applied, scaled, written and told, from a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import RedisSpec, ScalingSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.decide.manifest import SPEC_HASH_ANNOTATION, deployment
from arqube_operator.decide.plan import RESYNC_S, Plan, decide, show_only
from arqube_operator.decide.scaling import ScalingMemory
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.state import Deployment, Identity, Memory, Pod, Problem, State
from arqube_operator.decide.status import COUNTS_INTERVAL_S
from arqube_queue.model import QueueSnapshot

NOW = 1_700_000_000.0
RUNTIME = "arqube-worker:1"
IDENTITY = Identity(name="emails", namespace="shop", uid="u-1", generation=3)
SPEC = TaskQueueSpec(
    redis=RedisSpec(host="redis"),
    worker=WorkerSpec(image="app:1", settings="app.WorkerSettings"),
    scaling=ScalingSpec(cooldown="30s"),
)
HASH = deployment(IDENTITY, SPEC, RUNTIME)["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
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


def test_a_missing_deployment_is_made_with_the_workers_that_are_needed() -> None:
    plan = decide(state(deployment=None, queue=QueueSnapshot(at_ms=0, waiting=25)), NOW)

    assert plan.create
    assert plan.replicas == 3
    assert plan.apply is not None
    assert reasons(plan) == ["WorkersCreated"]


def test_a_missing_deployment_is_made_with_the_floor_before_the_queue_was_read() -> None:
    plan = decide(state(deployment=None, queue=None), NOW)

    assert (plan.create, plan.replicas) == (True, 0)


@pytest.mark.parametrize(
    ("changes", "applied"),
    [
        pytest.param({}, False, id="what is as it should be is left"),
        pytest.param({"deployment": live(1, spec_hash="old")}, True, id="another manifest is applied"),
        pytest.param({"deployment": live(1, generation=8)}, True, id="a change by somebody else is undone"),
        pytest.param(
            {"memory": replace(SETTLED, applied_s=NOW - RESYNC_S)}, True, id="from time to time it is applied anyhow"
        ),
        pytest.param(
            {"memory": replace(SETTLED, applied_generation=None), "deployment": live(1, generation=8)},
            False,
            id="a new leader trusts the hash",
        ),
    ],
)
def test_the_manifest_is_applied_when_it_must(changes: dict[str, Any], applied: bool) -> None:
    assert (decide(state(**changes), NOW).apply is not None) == applied


def test_replicas_are_written_only_when_they_differ() -> None:
    assert decide(state(), NOW).replicas is None
    assert decide(state(queue=QueueSnapshot(at_ms=0, waiting=15)), NOW).replicas == 2


def test_a_person_who_scales_the_deployment_is_overruled() -> None:
    plan = decide(state(deployment=live(0, generation=8), queue=QueueSnapshot(at_ms=0, waiting=5)), NOW)

    assert plan.replicas == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {},
            {
                "Ready": ("True", "Ready"),
                "RedisReachable": ("True", "Connected"),
                "ScalingActive": ("True", "Steady"),
                "WorkersAvailable": ("True", "AllReady"),
            },
            id="all is well",
        ),
        pytest.param(
            {"redis_problem": AWAY},
            {
                "Ready": ("False", "RedisUnreachable"),
                "RedisReachable": ("False", "RedisUnreachable"),
                "ScalingActive": ("False", "RedisUnreachable"),
                "WorkersAvailable": ("True", "AllReady"),
            },
            id="Redis is away",
        ),
        pytest.param(
            {"queue": None},
            {
                "Ready": ("Unknown", "NotYetRead"),
                "RedisReachable": ("Unknown", "NotYetRead"),
                "ScalingActive": ("Unknown", "NotYetRead"),
            },
            id="the queue was not read yet",
        ),
        pytest.param(
            {"deployment": live(0), "queue": QueueSnapshot(at_ms=0)},
            {
                "Ready": ("True", "Ready"),
                "WorkersAvailable": ("True", "ScaledToZero"),
                "ScalingActive": ("True", "Idle"),
            },
            id="scaled to zero is well",
        ),
        pytest.param(
            {"deployment": live(2, ready=0), "queue": QueueSnapshot(at_ms=0, waiting=20)},
            {"Ready": ("False", "Starting"), "WorkersAvailable": ("False", "Starting")},
            id="no worker is ready yet",
        ),
        pytest.param(
            {"deployment": live(2, ready=1), "queue": QueueSnapshot(at_ms=0, waiting=20)},
            {"Ready": ("True", "Ready"), "WorkersAvailable": ("True", "Starting")},
            id="some workers are ready",
        ),
        pytest.param(
            {
                "deployment": live(1, ready=0),
                "pods": (Pod(name="p", created_s=0, failure="ImagePullFailed", failure_message="not found"),),
            },
            {"Ready": ("False", "ImagePullFailed"), "WorkersAvailable": ("False", "ImagePullFailed")},
            id="the image cannot be pulled",
        ),
        pytest.param(
            {
                "deployment": live(1, ready=1),
                "pods": (
                    Pod(name="old", created_s=0, ready_s=5),
                    Pod(name="new", created_s=9, failure="ImagePullFailed", failure_message="not found"),
                ),
            },
            {"Ready": ("True", "Ready"), "WorkersAvailable": ("True", "RolloutStuck")},
            id="a rollout is stuck while the old workers go on",
        ),
        pytest.param(
            {
                "deployment": live(1, ready=0),
                "pods": (
                    Pod(name="old", created_s=0, template="1", failure="ImagePullFailed", failure_message="not found"),
                    Pod(name="new", created_s=9, template="2", failure="CrashLooping", failure_message="exit code 2"),
                ),
            },
            {"WorkersAvailable": ("False", "CrashLooping")},
            id="a new image fails in another way than the one before",
        ),
        pytest.param(
            {
                "deployment": live(1, ready=0),
                "pods": (
                    Pod(name="old", created_s=0, template="1", failure="ImagePullFailed", failure_message="not found"),
                    Pod(name="new", created_s=9, template="2"),
                ),
                "queue": QueueSnapshot(at_ms=0, waiting=1),
            },
            {"WorkersAvailable": ("False", "Starting")},
            id="a new image starts while a pod of the one before still fails",
        ),
        pytest.param(
            {"deployment": live(1, ready=0, problem="exceeded quota")},
            {"WorkersAvailable": ("False", "PodsNotCreated")},
            id="Kubernetes makes no pods",
        ),
        pytest.param(
            {"memory": replace(SETTLED, rejection=Problem("ApiRefused", "spec.template is invalid"))},
            {"Ready": ("False", "ApiRefused"), "WorkersAvailable": ("False", "ApiRefused")},
            id="Kubernetes refuses the Deployment",
        ),
        pytest.param(
            {"spec": SPEC.model_copy(update={"replicas": 1})},
            {"ScalingActive": ("False", "ManualReplicas"), "Ready": ("True", "Ready")},
            id="a person holds the number",
        ),
    ],
)
def test_conditions_tell_what_is(changes: dict[str, Any], expected: dict[str, tuple[str, str]]) -> None:
    seen = conditions(decide(state(**changes), NOW))

    assert {name: seen[name] for name in expected} == expected


def test_every_condition_carries_the_generation_and_a_sentence() -> None:
    status = decide(state(), NOW).status

    assert status is not None
    assert status.observed_generation == 3
    for condition in status.conditions:
        assert condition.observed_generation == 3
        assert condition.message


def shown(given: State, now: float = NOW) -> State:
    """``given`` after its status was written at ``now``."""
    plan = decide(given, now)
    assert plan.status is not None
    return replace(given, status=plan.status, memory=plan.memory)


def test_a_status_that_says_the_same_is_not_written_again() -> None:
    assert decide(shown(state()), NOW + 60).status is None


def test_counts_alone_wait_for_their_interval_and_a_scaling_does_not() -> None:
    before = shown(state())
    counts = replace(before, queue=QueueSnapshot(at_ms=0, running=2))
    burst = replace(before, queue=QueueSnapshot(at_ms=0, running=1, waiting=50))

    assert decide(counts, NOW + COUNTS_INTERVAL_S / 2).status is None
    assert decide(counts, NOW + COUNTS_INTERVAL_S).status is not None
    assert decide(burst, NOW + COUNTS_INTERVAL_S / 2).status is not None


def test_a_transition_time_changes_only_with_the_conditions_status() -> None:
    before = shown(state())
    still = decide(replace(before, queue=QueueSnapshot(at_ms=0, running=2)), NOW + 60).status
    broken = decide(replace(before, redis_problem=AWAY), NOW + 60).status
    assert still is not None
    assert broken is not None

    def since(status: TaskQueueStatus) -> str:
        return next(one.last_transition_time for one in status.conditions if one.type == "RedisReachable")

    assert since(still) == since(before.status)
    assert since(broken) > since(before.status)


def test_the_last_scale_time_stands_until_the_next_scaling() -> None:
    scaled = shown(state(queue=QueueSnapshot(at_ms=0, waiting=50)))
    assert scaled.status.scaling is not None
    later = decide(replace(scaled, deployment=live(5), queue=QueueSnapshot(at_ms=0, running=50)), NOW + 60).status

    assert later is not None
    assert later.scaling is not None
    assert later.scaling.last_scale_time == scaled.status.scaling.last_scale_time == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param({}, {"queue": QueueSnapshot(at_ms=0, waiting=50)}, ["ScaledUp"], id="a scale-up"),
        pytest.param(
            {"deployment": live(4)}, {"queue": QueueSnapshot(at_ms=0, running=11)}, ["ScaledDown"], id="a scale-down"
        ),
        pytest.param({}, {"deployment": live(1, spec_hash="old")}, ["WorkersUpdated"], id="a rollout"),
        pytest.param({}, {"redis_problem": AWAY}, ["RedisUnreachable"], id="Redis goes away"),
        pytest.param({"redis_problem": AWAY}, {"redis_problem": AWAY}, [], id="Redis is still away"),
        pytest.param({"redis_problem": AWAY}, {"redis_problem": None}, ["RedisReachableAgain"], id="Redis is back"),
        pytest.param({"deployment": live(1, ready=0)}, {"deployment": live(1)}, [], id="a start-up is no event"),
    ],
)
def test_events_tell_what_was_done_and_what_changed(
    before: dict[str, Any], after: dict[str, Any], told: list[str]
) -> None:
    first = shown(state(**before))
    second = replace(first, **after)

    assert reasons(decide(second, NOW + 60)) == told


def test_after_a_failed_write_only_the_status_is_shown() -> None:
    plan = show_only(decide(state(deployment=None, queue=QueueSnapshot(at_ms=0, waiting=25)), NOW))

    assert (plan.apply, plan.create, plan.replicas, plan.deeds) == (None, False, None, ())
    assert plan.status is not None


def test_the_start_up_time_is_learned_from_the_pods_and_kept() -> None:
    pods = (Pod(name="a", created_s=NOW - 60, ready_s=NOW - 38), Pod(name="b", created_s=NOW - 5))
    learned = shown(state(pods=pods))

    assert learned.startup_s == 22
    assert replace(learned, pods=()).startup_s == 22
    assert state().startup_s == 10
