"""The whole plan: what is applied, scaled, written and told, from a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import (
    RedisSpec,
    ScalingSpec,
    ScalingStatus,
    TaskQueueSpec,
    TaskQueueStatus,
    WorkerSpec,
)
from arqube_operator.decide.manifest import spec_hash
from arqube_operator.decide.plan import RESYNC_S, Plan, decide, show_only
from arqube_operator.decide.scaling import ScalingMemory
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.state import COUNTS_INTERVAL_S, Deployment, Identity, Memory, Pod, Problem, State
from arqube_operator.decide.status import WORDS_INTERVAL_S
from arqube_queue.model import Heartbeat, QueueSnapshot

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


def limited(**scaling: Any) -> State:
    """Ten jobs a worker are asked for by thirty, of which one worker runs."""
    spec = SPEC.model_copy(update={"scaling": ScalingSpec(jobs_per_replica=10, **scaling)})
    return state(spec=spec, queue=QueueSnapshot(at_ms=0, waiting=30))


def full(given: State, now: float = NOW) -> ScalingStatus:
    status = decide(given, now).status
    assert status is not None
    assert status.scaling is not None
    return status.scaling


def test_a_dry_run_decides_and_tells_and_changes_nothing() -> None:
    pods = (
        Pod(name="idle", created_s=NOW - 99, ready_s=NOW - 90),
        Pod(name="busy", created_s=NOW - 99, ready_s=NOW - 90),
    )
    beats = (Heartbeat(worker="idle", at_ms=0, busy=0, slots=10), Heartbeat(worker="busy", at_ms=0, busy=9, slots=10))
    up = limited(dry_run=True)
    down = replace(up, deployment=live(2), pods=pods, queue=QueueSnapshot(at_ms=0, running=9, heartbeats=beats))

    for given, wanted in ((up, "3 workers in place of 1"), (down, "1 worker in place of 2")):
        plan = decide(given, NOW)
        assert (plan.replicas, plan.deletion_costs, plan.retire, plan.deeds) == (None, {}, frozenset(), ())
        assert conditions(plan)["ScalingLimited"] == ("True", "DryRun")
        assert wanted in full(given).message
        assert reasons(plan) == ["DryRun"]
    assert reasons(decide(shown(up), NOW + 60)) == []


def test_in_a_dry_run_a_new_deployment_begins_with_the_floor() -> None:
    plan = decide(replace(limited(dry_run=True, min_replicas=1), deployment=None), NOW)

    assert (plan.create, plan.replicas) == (True, 1)


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        pytest.param(limited(max_replicas=2), ("True", "MaxReplicas"), id="at the maximum"),
        pytest.param(limited(paused="All"), ("True", "Paused"), id="while paused"),
        pytest.param(limited(), ("False", "WithinLimits"), id="not while it scales as it should"),
        pytest.param(
            replace(limited(), queue=QueueSnapshot(at_ms=0), deployment=live(3)),
            ("False", "WithinLimits"),
            id="not while it only waits before it scales down",
        ),
        pytest.param(state(queue=None), ("Unknown", "WithinLimits"), id="unknown before the queue was read"),
    ],
)
def test_what_keeps_the_number_from_what_is_needed_is_a_condition(given: State, condition: tuple[str, str]) -> None:
    assert conditions(decide(given, NOW))["ScalingLimited"] == condition


def test_pods_that_no_node_takes_are_told_while_the_others_work() -> None:
    pods = (
        Pod(name="works", created_s=NOW - 99, ready_s=NOW - 90),
        Pod(name="b", created_s=NOW - 9, failure="Unschedulable", failure_message="0/3 nodes are available"),
    )
    given = replace(limited(), deployment=live(3, ready=1), pods=pods)
    plan = decide(given, NOW)

    seen = conditions(plan)
    assert seen["Ready"] == ("True", "Ready")
    assert seen["WorkersAvailable"] == ("True", "Unschedulable")
    assert seen["ScalingLimited"] == ("True", "Unschedulable")
    assert plan.status is not None
    told = next(each.message for each in plan.status.conditions if each.type == "ScalingLimited")
    assert "pod b: 0/3 nodes are available" in told
    assert "Unschedulable" in reasons(plan)
    assert conditions(decide(replace(given, deployment=live(3, ready=0), pods=pods[1:]), NOW))["Ready"] == (
        "False",
        "Unschedulable",
    )


def test_a_limit_that_comes_and_goes_is_told_once() -> None:
    calm = shown(limited(max_replicas=9))
    tight = calm.spec.model_copy(update={"scaling": ScalingSpec(jobs_per_replica=10, max_replicas=2)})
    later = replace(calm, spec=tight)

    assert "MaxReplicas" in reasons(decide(later, NOW + 61))
    assert "MaxReplicas" not in reasons(decide(later, NOW + 59))


def test_the_status_tells_what_the_decision_stands_on() -> None:
    told = full(limited(max_replicas=2))

    assert told.inputs is not None
    assert (told.inputs.waiting, told.inputs.startup_seconds) == (30, 10)
    assert (told.terms[0].name, told.terms[0].replicas) == ("Jobs", 3)
    assert all(term.message for term in told.terms)
    assert told.limit == "MaxReplicas"
    assert told.retiring is None
    assert told.crons is not None
    assert told.crons.next is None
    assert told.last_change is not None
    assert told.last_change.model_dump(by_alias=True) | {"message": ""} == {
        "time": "2023-11-14T22:13:20Z",
        "from": 1,
        "to": 2,
        "reason": "AtMaxReplicas",
        "message": "",
    }


def test_the_last_change_stands_until_the_next() -> None:
    scaled = shown(limited())
    later = decide(replace(scaled, deployment=live(3), queue=QueueSnapshot(at_ms=0, running=30)), NOW + 60).status

    assert scaled.status.scaling is not None
    assert later is not None
    assert later.scaling is not None
    assert later.scaling.last_change == scaled.status.scaling.last_change


def test_sentences_alone_wait_for_a_minute() -> None:
    due_s = NOW + 3600.0
    crons = KnownCrons(template_hash("app:1", "app.WorkerSettings"), due_s)
    before = shown(state(memory=replace(SETTLED, scaling=replace(NO_CRONS, crons=crons))))
    assert before.status.scaling is not None
    other = before.status.scaling.model_copy(update={"message": "as it was a moment ago"})
    reworded = replace(before, status=before.status.model_copy(update={"scaling": other}))

    assert decide(reworded, NOW + COUNTS_INTERVAL_S).status is None
    assert decide(reworded, NOW + WORDS_INTERVAL_S).status is not None


def test_a_new_leader_asks_nobody_to_retire_or_not_before_it_has_read_the_queue() -> None:
    blind = state(queue=None, memory=Memory())

    assert decide(blind, NOW).memory.retire is None
    assert decide(replace(blind, queue=QueueSnapshot(at_ms=0)), NOW).memory.retire == frozenset()


def test_the_pods_asked_to_retire_are_counted() -> None:
    pods = (Pod(name="a", created_s=NOW - 99, ready_s=NOW - 90), Pod(name="b", created_s=NOW - 99, ready_s=NOW - 90))
    beats = (Heartbeat(worker="a", at_ms=0, busy=1, slots=10), Heartbeat(worker="b", at_ms=0, busy=5, slots=10))
    queue = QueueSnapshot(at_ms=0, running=6, heartbeats=beats)
    given = replace(limited(), deployment=live(2), pods=pods, queue=queue)

    assert decide(given, NOW).retire == {"a"}
    assert full(given).retiring == 1
    assert full(given).limit == "BusyWorkers"


def test_the_manifests_hash_follows_the_spec_though_it_is_remembered() -> None:
    other = SPEC.model_copy(update={"worker": WorkerSpec(image="app:2", settings="app.WorkerSettings")})

    assert [spec_hash(IDENTITY, spec, RUNTIME) == HASH for spec in (SPEC, other, SPEC)] == [True, False, True]
    assert spec_hash(IDENTITY, SPEC, "another-runtime:1") != HASH
