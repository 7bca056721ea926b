"""The simulated KEDA: its poller between zero and one, and the HPA it feeds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.keda import HpaAlone, Keda, KedaSettings
from arqube_local.simulate.loads import Load
from arqube_local.simulate.policies import POLICIES
from arqube_local.simulate.simulation import Conditions, Simulation
from arqube_local.simulate.world import Policy
from arqube_operator.api.v1alpha1 import TaskQueueSpec

CONDITIONS = Conditions(slots=5, max_wait_s=30.0, startup_s=(10.0, 10.0), seed=1)


def test_the_defaults_are_those_of_a_scaled_object() -> None:
    defaults = KedaSettings()
    assert (defaults.polling_s, defaults.cooldown_s) == (30.0, 300.0)
    assert (defaults.min_replicas, defaults.max_replicas) == (0, 100)
    assert (defaults.target, defaults.activation) == (5.0, 0.0)
    assert defaults.behavior is None


def _changes(policy: Policy, jobs: Sequence[Arrival], seconds: float) -> list[tuple[float, int]]:
    """Each (time, number) at which the number of workers changed."""
    simulation = Simulation(Load("test", seconds, tuple(jobs)), policy, CONDITIONS)
    changes: list[tuple[float, int]] = []
    scale = simulation.deployment.scale

    def record(replicas: int) -> None:
        if replicas != simulation.deployment.replicas:
            changes.append((simulation.now, replicas))
        scale(replicas)

    simulation.deployment.scale = record  # type: ignore[method-assign]
    simulation.run()
    return changes


def test_up_with_a_poll_and_down_when_the_cool_down_has_passed_since_the_last_active_one() -> None:
    changes = _changes(Keda(KedaSettings()), [Arrival(100.0, 100.0, 20.0)], 1000.0)
    (up_s, up), (down_s, down) = changes
    assert (up, down) == (1, 0)
    assert 100.0 <= up_s <= 130.0
    ended_s = up_s + 10.0 + 20.0
    last_active_s = up_s + 30.0 * ((ended_s - up_s) // 30.0)
    # Not at the poll that is exactly 300 s later, as that is not yet more than the cool-down.
    assert last_active_s + 300.0 < down_s <= last_active_s + 331.0
    assert (down_s - up_s) % 30.0 == pytest.approx(0.0, abs=1e-6)


def test_at_zero_only_the_poller_looks() -> None:
    changes = _changes(Keda(KedaSettings(polling_s=100.0)), [Arrival(0.5, 0.5, 500.0)] * 50, 300.0)
    assert changes[0][1] == 1
    assert changes[1][1] == 4, "then the HPA, up to four in its first sync"


def test_it_stays_at_zero_with_no_more_members_than_the_activation_threshold() -> None:
    jobs = [Arrival(1.0, 1.0, 1.0)] * 3
    assert _changes(Keda(KedaSettings(activation=3)), jobs, 600.0) == []
    assert _changes(Keda(KedaSettings(activation=2)), jobs, 600.0) != []


def test_jobs_of_tomorrow_keep_pods_busy_with_waiting() -> None:
    tomorrow = [Arrival(0.0, 86_400.0, 1.0)] * 1000
    changes = _changes(Keda(KedaSettings(max_replicas=500)), tomorrow, 1200.0)
    assert changes[-1][1] == 200


def test_an_hpa_alone_begins_with_its_floor_and_never_goes_to_zero() -> None:
    simulation = Simulation(Load("test", 3600.0, ()), HpaAlone(0, 10, 5.0, 30.0), CONDITIONS)
    result = simulation.run()
    assert (simulation.deployment.replicas, result.scale_events) == (1, 0)
    assert result.pod_hours == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "timeout", "grace_s"),
    [
        pytest.param("keda", "10s", 30.0, id="KEDA has Kubernetes' default grace"),
        pytest.param("keda-tuned", "10s", 60.0, id="tuned KEDA has a minute"),
        pytest.param("hpa", "5m", 300.0, id="a longer shutdown of the TaskQueue holds for all"),
        pytest.param("keda-tuned", "5m", 300.0, id="for tuned KEDA too"),
        pytest.param("arqube", "10s", 10.0, id="the operator gives what the TaskQueue says"),
    ],
)
def test_the_grace_of_pods(name: str, timeout: str, grace_s: float) -> None:
    assert POLICIES[name](_spec(shutdown={"timeout": timeout})).grace_s == grace_s


def test_tuned_keda_follows_the_slots_of_a_pod() -> None:
    jobs = [Arrival(1.0, 1.0, 1000.0)] * 100
    assert _changes(POLICIES["keda-tuned"](_spec(concurrency=50)), jobs, 100.0)[-1][1] == 2
    assert _changes(POLICIES["keda-tuned"](_spec(concurrency=5)), jobs, 100.0)[-1][1] == 20


def _spec(concurrency: int = 5, **fields: object) -> TaskQueueSpec:
    worker = {"image": "app", "settings": "app.WorkerSettings", "concurrency": concurrency}
    return TaskQueueSpec.model_validate(
        {"redis": {"host": "redis"}, "worker": worker, "scaling": {"maxReplicas": 20}, **fields}, by_alias=True
    )
