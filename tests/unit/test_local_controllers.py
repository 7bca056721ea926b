"""The controllers' decisions: which ReplicaSet gets how many pods, and which pods a ReplicaSet gives up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_local.controllers.replicas import PodState, ReplicasPlan, plan_replicas
from arqube_local.controllers.rollout import (
    Condition,
    ReplicaSetState,
    Rollout,
    RolloutPlan,
    RolloutStatus,
    conditions,
    plan_rollout,
    resolve_bounds,
    rollout_status,
)


def replica_set(template: str, desired: int, available: int | None = None, **more: object) -> ReplicaSetState:
    available = desired if available is None else available
    values = {"replicas": desired, "ready": available, "created": float(ord(template)), "revision": ord(template) - 96}
    return ReplicaSetState(template, template, desired=desired, available=available, **{**values, **more})  # type: ignore[arg-type]


B_SURGE_1 = Rollout(4, "b", max_surge=1, max_unavailable=0)
B_UNAVAILABLE_1 = Rollout(4, "b", max_surge=0, max_unavailable=1)
B_RECREATE = Rollout(4, "b", recreate=True)


@pytest.mark.parametrize(
    ("rollout", "sets", "plan"),
    [
        pytest.param(B_SURGE_1, (), RolloutPlan(1, create=4), id="a new Deployment makes all its pods at once"),
        pytest.param(
            B_SURGE_1,
            (replica_set("a", 4),),
            RolloutPlan(2, create=1),
            id="a new template starts with as many pods as the surge allows",
        ),
        pytest.param(
            B_SURGE_1,
            (replica_set("a", 4), replica_set("b", 1, available=0)),
            RolloutPlan(2),
            id="no old pod goes before the surged one is available",
        ),
        pytest.param(
            B_SURGE_1,
            (replica_set("a", 4), replica_set("b", 1)),
            RolloutPlan(2, resize=(("a", 3),)),
            id="an available new pod replaces one old pod",
        ),
        pytest.param(
            B_SURGE_1,
            (replica_set("a", 4, available=2), replica_set("b", 1, available=0)),
            RolloutPlan(2),
            id="unhealthy old pods stay while the new one is not available either",
        ),
        pytest.param(
            B_SURGE_1,
            (replica_set("a", 4, available=2), replica_set("b", 1)),
            RolloutPlan(2, resize=(("a", 3),)),
            id="an unhealthy old pod goes before healthy ones",
        ),
        pytest.param(
            B_UNAVAILABLE_1,
            (replica_set("a", 4),),
            RolloutPlan(2, create=0),
            id="without surge the new ReplicaSet waits for room",
        ),
        pytest.param(
            B_UNAVAILABLE_1,
            (replica_set("a", 4), replica_set("b", 0)),
            RolloutPlan(2, resize=(("a", 3),)),
            id="without surge an old pod goes first",
        ),
        pytest.param(
            B_SURGE_1,
            (replica_set("b", 6),),
            RolloutPlan(2, resize=(("b", 4),)),
            id="a smaller Deployment shrinks its ReplicaSet",
        ),
        pytest.param(
            replace(B_SURGE_1, replicas=0),
            (replica_set("a", 3), replica_set("b", 2)),
            RolloutPlan(2, resize=(("b", 0),)),
            id="scaled to zero in the middle of a rollout the new ReplicaSet empties",
        ),
        pytest.param(
            replace(B_SURGE_1, replicas=0),
            (replica_set("a", 3), replica_set("b", 0)),
            RolloutPlan(2, resize=(("a", 0),)),
            id="and then the old one",
        ),
        pytest.param(
            Rollout(4, "a", max_surge=1),
            (replica_set("a", 0), replica_set("b", 4)),
            RolloutPlan(3, resize=(("a", 1),)),
            id="a rollback takes the old ReplicaSet up again under a new revision",
        ),
        pytest.param(
            B_RECREATE,
            (replica_set("a", 4),),
            RolloutPlan(2, resize=(("a", 0),)),
            id="Recreate stops the old pods first",
        ),
        pytest.param(
            B_RECREATE,
            (replica_set("a", 0, lingering=1),),
            RolloutPlan(2),
            id="Recreate waits for the last old process",
        ),
        pytest.param(
            B_RECREATE,
            (replica_set("a", 0),),
            RolloutPlan(2, create=4),
            id="Recreate makes all new pods once the old ones are gone",
        ),
        pytest.param(
            replace(B_SURGE_1, history_limit=0),
            (replica_set("a", 0), replica_set("b", 4)),
            RolloutPlan(2, remove=("a",)),
            id="an empty ReplicaSet beyond the history is removed once the rollout is complete",
        ),
        pytest.param(
            replace(B_SURGE_1, history_limit=0),
            (replica_set("a", 0), replica_set("b", 4, available=3)),
            RolloutPlan(2),
            id="no history is forgotten while the rollout may still be rolled back",
        ),
    ],
)
def test_next_step_of_a_rollout(rollout: Rollout, sets: tuple[ReplicaSetState, ...], plan: RolloutPlan) -> None:
    assert plan_rollout(rollout, sets) == plan


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "bounds"),
    [
        pytest.param(10, "25%", "25%", (3, 2), id="surge rounds up and unavailability down"),
        pytest.param(10, 2, 0, (2, 0), id="numbers are pods"),
        pytest.param(1, "0%", "25%", (0, 1), id="both rounded to nothing leave one unavailable, or nothing could move"),
    ],
)
def test_bounds(replicas: int, surge: int | str, unavailable: int | str, bounds: tuple[int, int]) -> None:
    assert resolve_bounds(replicas, surge, unavailable) == bounds


@given(
    replicas=st.integers(0, 12),
    bounds=st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(any),
    old=st.integers(0, 16),
    healthy=st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_a_rollout_keeps_its_bounds_and_ends(
    replicas: int, bounds: tuple[int, int], old: int, healthy: list[bool]
) -> None:
    """Pods become available after any delay: never more than the surge, never fewer available than allowed."""
    rollout = Rollout(replicas, "b", max_surge=bounds[0], max_unavailable=bounds[1])
    sets = {"a": replica_set("a", old)} if old else {}
    for ready in [*healthy, *[True] * 100]:
        before = sum(each.available for each in sets.values())
        total = sum(each.desired for each in sets.values())
        plan = plan_rollout(rollout, tuple(sets.values()))
        if plan.create is not None:
            sets["b"] = replica_set("b", plan.create, available=0)
        for name, size in plan.resize:
            each = sets[name]
            sets[name] = replica_set(name, size, available=min(size, each.available))
        after = sum(each.available for each in sets.values())
        assert after >= min(before, replicas - bounds[1])
        assert sum(each.desired for each in sets.values()) <= max(total, replicas + bounds[0])
        if ready and "b" in sets and sets["b"].available < sets["b"].desired:
            sets["b"] = replica_set("b", sets["b"].desired, available=sets["b"].available + 1)
    assert {name: each.desired for name, each in sets.items() if each.desired} == ({"b": replicas} if replicas else {})


@pytest.mark.parametrize(
    ("sets", "status"),
    [
        pytest.param((), RolloutStatus(0, 0, 0, 0, 0), id="nothing yet"),
        pytest.param(
            (replica_set("a", 3), replica_set("b", 2, available=1)),
            RolloutStatus(replicas=5, updated=2, ready=4, available=4, unavailable=1),
            id="the middle of a rollout",
        ),
    ],
)
def test_counts_of_a_status(sets: tuple[ReplicaSetState, ...], status: RolloutStatus) -> None:
    assert rollout_status(B_SURGE_1, sets) == status


COMPLETE = RolloutStatus(4, 4, 4, 4, 0)
HALF = RolloutStatus(4, 2, 4, 4, 0)
DOWN = RolloutStatus(4, 4, 1, 1, 3)


def progressing(reason: str, updated: float = 0.0, *, status: bool = True) -> Condition:
    return Condition("Progressing", status, reason, "", changed=0.0, updated=updated)


@pytest.mark.parametrize(
    ("before", "status", "previous", "now", "expected"),
    [
        pytest.param(HALF, COMPLETE, "ReplicaSetUpdated", 10, (True, "NewReplicaSetAvailable"), id="complete"),
        pytest.param(HALF, HALF, "ReplicaSetUpdated", 599, (True, "ReplicaSetUpdated"), id="within its deadline"),
        pytest.param(
            HALF, HALF, "ReplicaSetUpdated", 601, (False, "ProgressDeadlineExceeded"), id="stuck beyond its deadline"
        ),
        pytest.param(
            replace(HALF, updated=1),
            HALF,
            "ReplicaSetUpdated",
            601,
            (True, "ReplicaSetUpdated"),
            id="late, but it moved",
        ),
        pytest.param(
            COMPLETE, DOWN, "NewReplicaSetAvailable", 9999, (True, "NewReplicaSetAvailable"), id="complete, then unwell"
        ),
    ],
)
def test_progress(
    before: RolloutStatus, status: RolloutStatus, previous: str, now: float, expected: tuple[bool, str]
) -> None:
    known = (progressing(previous),)
    _, condition = conditions(B_SURGE_1, "web", before, status, known, now)
    assert (condition.status, condition.reason) == expected


def test_availability_changes_its_time_only_with_its_status() -> None:
    first, _ = conditions(B_SURGE_1, "web", COMPLETE, COMPLETE, (), 5.0)
    same, _ = conditions(B_SURGE_1, "web", COMPLETE, COMPLETE, (first,), 6.0)
    lost, _ = conditions(B_SURGE_1, "web", COMPLETE, DOWN, (same,), 7.0)
    assert (same.changed, lost.changed, lost.status, lost.reason) == (5.0, 7.0, False, "MinimumReplicasUnavailable")


KEEP = PodState("keep", created=50, ready_since=60)


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param(replace(KEEP, assigned=False, deletion_cost=9), id="a pod no node has been chosen for"),
        pytest.param(replace(KEEP, phase="Pending", deletion_cost=9), id="a pending pod"),
        pytest.param(replace(KEEP, ready_since=None, deletion_cost=9), id="a pod that is not ready"),
        pytest.param(replace(KEEP, deletion_cost=-1, ready_since=10, created=1), id="the cheapest by deletion cost"),
        pytest.param(replace(KEEP, ready_since=61, created=1), id="the one ready for the shorter time"),
        pytest.param(replace(KEEP, restarts=1, created=1), id="the one with more restarts"),
        pytest.param(replace(KEEP, created=51), id="the newer one"),
    ],
)
def test_first_to_go_is(victim: PodState) -> None:
    victim = replace(victim, name="victim")
    assert plan_replicas(1, (KEEP, victim)) == ReplicasPlan(delete=("victim",))
    assert plan_replicas(1, (victim, KEEP)) == ReplicasPlan(delete=("victim",))


@pytest.mark.parametrize(
    ("desired", "pods", "plan"),
    [
        pytest.param(2, (KEEP,), ReplicasPlan(create=1), id="a missing pod is made"),
        pytest.param(
            1, (replace(KEEP, terminating=True),), ReplicasPlan(create=1), id="a pod on its way out is replaced at once"
        ),
        pytest.param(1, (replace(KEEP, phase="Failed"),), ReplicasPlan(create=1), id="a failed pod is replaced"),
        pytest.param(
            0, (replace(KEEP, terminating=True),), ReplicasPlan(), id="a pod on its way out is not deleted again"
        ),
        pytest.param(1, (KEEP,), ReplicasPlan(), id="enough is enough"),
    ],
)
def test_pods_made_and_deleted(desired: int, pods: tuple[PodState, ...], plan: ReplicasPlan) -> None:
    assert plan_replicas(desired, pods) == plan


def test_available_only_after_min_ready_seconds() -> None:
    assert not KEEP.available(min_ready_s=5, now=64)
    assert KEEP.available(min_ready_s=5, now=65)
