"""The simulated Deployment: whom a ReplicaSet gives up, and what a pod's time costs."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from arqube_local.simulate.engine import Engine
from arqube_local.simulate.kubernetes import Deployment, Pod, victims


def _pod(name: str, created_s: float, ready_s: float | None, cost: int = 0, uid: int = 0) -> Pod:
    pod = Pod(name, uid, created_s)
    pod.ready_s = ready_s
    pod.deletion_cost = cost
    return pod


@pytest.mark.parametrize(
    ("pods", "now", "expected"),
    [
        pytest.param(
            [_pod("ready", 0, 10), _pod("pending", 0, None, cost=9)],
            100.0,
            ["pending", "ready"],
            id="one that is not ready goes before any that is, whatever it costs",
        ),
        pytest.param(
            [_pod("dear", 90, 99, cost=5), _pod("cheap", 0, 10, cost=-1), _pod("free", 0, 10)],
            100.0,
            ["cheap", "free", "dear"],
            id="the cheaper goes first, whatever its age",
        ),
        pytest.param(
            [_pod("old", 0, 10, uid=1), _pod("new", 70, 90, uid=2)],
            100.0,
            ["new", "old"],
            id="the one that became ready last goes first",
        ),
        pytest.param(
            [_pod("a", 0, 10, uid=2), _pod("b", 0, 30, uid=1)],
            100.0,
            ["b", "a"],
            id="ages within one power of two of nanoseconds are alike: 90 s and 70 s, so the uid tells",
        ),
        pytest.param(
            [_pod("a", 0, 10, uid=1), _pod("b", 0, 30, uid=2)],
            100.0,
            ["a", "b"],
            id="and may take the older of them",
        ),
        pytest.param(
            [_pod("a", 0, 10, uid=1), _pod("b", 0, 35, uid=2)],
            100.0,
            ["b", "a"],
            id="90 s and 65 s are not alike: the power lies at 2^36 ns, which is 68.7 s",
        ),
        pytest.param(
            [_pod("a", 0, 10.9, uid=2), _pod("b", 80, 10.1, uid=1)],
            100.0,
            ["b", "a"],
            id="ready within one second of the clock: the later creation goes first",
        ),
        pytest.param(
            [_pod("a", 20, None, uid=1), _pod("b", 80, None, uid=2)],
            100.0,
            ["b", "a"],
            id="of two that are not ready the newer goes first",
        ),
    ],
)
def test_the_order_of_victims(pods: list[Pod], now: float, expected: list[str]) -> None:
    for order in itertools.permutations(pods):
        assert [pod.name for pod in victims(list(order), now)] == expected


class _Containers:
    """Stops only when the test says so, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def begin(self, pod: Pod) -> None:
        self.told.append(("begin", pod.name))

    def stop(self, pod: Pod) -> None:
        self.told.append(("stop", pod.name))

    def kill(self, pod: Pod) -> None:
        self.told.append(("kill", pod.name))


@pytest.fixture
def containers() -> _Containers:
    return _Containers()


@pytest.fixture
def deployment(containers: _Containers) -> Deployment:
    return Deployment(Engine(), containers, itertools.repeat(10.0), 30.0, Random(1))  # noqa: S311


def _run(deployment: Deployment, until_s: float) -> None:
    deployment._engine.run(until_s)


def test_pods_are_pending_for_their_start_up_time_and_then_ready(
    deployment: Deployment, containers: _Containers
) -> None:
    deployment.scale(2)
    _run(deployment, 9.9)
    assert (deployment.ready, deployment.status_replicas, containers.told) == (0, 2, [])
    _run(deployment, 10.0)
    assert (deployment.ready, containers.told) == (2, [("begin", "worker-1"), ("begin", "worker-2")])


def test_a_terminating_pod_is_paid_for_until_it_has_ended(deployment: Deployment, containers: _Containers) -> None:
    deployment.scale(1)
    _run(deployment, 100.0)
    deployment.scale(0)
    _run(deployment, 120.0)
    assert (deployment.status_replicas, len(deployment.pods), deployment.ready) == (0, 1, 0)
    assert deployment.pod_seconds() == 120.0
    deployment.exited(deployment.pods[0])
    _run(deployment, 500.0)
    assert deployment.pod_seconds() == 120.0
    assert ("kill", "worker-1") not in containers.told


def test_a_pod_that_does_not_end_is_killed_at_the_end_of_its_grace(
    deployment: Deployment, containers: _Containers
) -> None:
    deployment.scale(1)
    _run(deployment, 100.0)
    deployment.scale(0)
    _run(deployment, 500.0)
    assert containers.told[-1] == ("kill", "worker-1")
    assert deployment.pod_seconds() == 130.0


def test_a_pod_that_is_not_ready_goes_at_once_and_never_begins(deployment: Deployment, containers: _Containers) -> None:
    deployment.scale(1)
    _run(deployment, 4.0)
    deployment.scale(0)
    _run(deployment, 100.0)
    assert (containers.told, deployment.pod_seconds()) == ([], 4.0)


def test_a_terminating_pod_is_replaced_when_more_are_wanted_again(deployment: Deployment) -> None:
    deployment.scale(1)
    _run(deployment, 100.0)
    deployment.scale(0)
    deployment.scale(1)
    assert [pod.name for pod in deployment.pods if not pod.terminating] == ["worker-2"]


def test_only_changes_of_the_number_count_as_scale_events(deployment: Deployment) -> None:
    deployment.create(3)
    deployment.scale(3)
    deployment.scale(5)
    deployment.scale(2)
    assert deployment.scale_events == 2
