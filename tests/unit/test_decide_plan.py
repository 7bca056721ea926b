"""The plan: what is applied, scaled and told as an Event, from a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import (
    ScalingSpec,
    WorkerSpec,
)
from arqube_operator.decide.manifest import spec_hash
from arqube_operator.decide.plan import RESYNC_S, decide, show_only
from arqube_operator.decide.state import Memory, Pod
from arqube_queue.model import Heartbeat, QueueSnapshot
from builders.plan import (
    AWAY,
    HASH,
    IDENTITY,
    NOW,
    RUNTIME,
    SETTLED,
    SPEC,
    conditions,
    full,
    limited,
    live,
    reasons,
    shown,
    state,
)


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


@pytest.mark.parametrize(
    ("changes", "applied"),
    [
        pytest.param({}, False, id="what seems as it should be has its turn later"),
        pytest.param({"first_applies_s": 0.0}, True, id="with few TaskQueues that is at once"),
        pytest.param({"deployment": live(1, spec_hash="old")}, True, id="another manifest does not wait"),
        pytest.param({"deployment": None}, True, id="a Deployment that is missing does not wait"),
    ],
)
def test_a_new_leader_of_many_applies_at_once_what_it_must(changes: dict[str, Any], applied: bool) -> None:
    given = state(**{"memory": Memory(), "first_applies_s": 300.0, **changes})

    assert (decide(given, NOW).apply is not None) == applied


def test_a_new_leader_applies_the_manifests_of_many_one_after_the_other() -> None:
    turns = []
    for number in range(300):
        identity = replace(IDENTITY, uid=f"u-{number}")
        deployment = live(1, spec_hash=spec_hash(identity, SPEC, RUNTIME))
        given = state(identity=identity, deployment=deployment, memory=Memory(), first_applies_s=300.0)
        memory = decide(given, NOW).memory
        turns.append(memory.applied_s + RESYNC_S - NOW)
        due = decide(replace(given, memory=memory), NOW + turns[-1])
        assert (due.apply is not None, due.memory.applied_s) == (True, NOW + turns[-1])

    assert all(0 <= turn < 300 for turn in turns)
    assert max(sum(second <= turn < second + 30 for turn in turns) for second in range(270)) < 60


def test_replicas_are_written_only_when_they_differ() -> None:
    assert decide(state(), NOW).replicas is None
    assert decide(state(queue=QueueSnapshot(at_ms=0, waiting=15)), NOW).replicas == 2


def test_a_person_who_scales_the_deployment_is_overruled() -> None:
    plan = decide(state(deployment=live(0, generation=8), queue=QueueSnapshot(at_ms=0, waiting=5)), NOW)

    assert plan.replicas == 1


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


def test_a_limit_that_comes_and_goes_is_told_once() -> None:
    calm = shown(limited(max_replicas=9))
    tight = calm.spec.model_copy(update={"scaling": ScalingSpec(jobs_per_replica=10, max_replicas=2)})
    later = replace(calm, spec=tight)

    assert "MaxReplicas" in reasons(decide(later, NOW + 61))
    assert "MaxReplicas" not in reasons(decide(later, NOW + 59))


def test_a_new_leader_asks_nobody_to_retire_or_not_before_it_has_read_the_queue() -> None:
    blind = state(queue=None, memory=Memory())

    assert decide(blind, NOW).memory.retire is None
    assert decide(replace(blind, queue=QueueSnapshot(at_ms=0)), NOW).memory.retire == frozenset()


def test_the_manifests_hash_follows_the_spec_though_it_is_remembered() -> None:
    other = SPEC.model_copy(update={"worker": WorkerSpec(image="app:2", settings="app.WorkerSettings")})

    assert [spec_hash(IDENTITY, spec, RUNTIME) == HASH for spec in (SPEC, other, SPEC)] == [True, False, True]
    assert spec_hash(IDENTITY, SPEC, "another-runtime:1") != HASH
