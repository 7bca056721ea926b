"""The plan's conditions: what they say of a state, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import (
    TaskQueueStatus,
)
from arqube_operator.decide.plan import decide
from arqube_operator.decide.state import Pod, Problem, State
from arqube_queue.model import QueueSnapshot
from builders.plan import (
    AWAY,
    NOW,
    SETTLED,
    SPEC,
    conditions,
    limited,
    live,
    reasons,
    shown,
    state,
)


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
