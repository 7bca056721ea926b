"""Scaling down without cutting a job: who may go, what makes Kubernetes take these, and what follows until it has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import RedisSpec, ScalingSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.decide.departure import (
    GONE_COST,
    LEAVING_S,
    deletion_costs,
    fewest_without_harm,
    still_leaving,
    victims,
)
from arqube_operator.decide.manifest import spec_hash
from arqube_operator.decide.plan import decide
from arqube_operator.decide.scaling import ScalingMemory
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.state import Deployment, Identity, Memory, Pod, State
from arqube_queue.model import Heartbeat, QueueSnapshot

NOW = 1_700_000_000.0
IDENTITY = Identity(name="emails", namespace="shop", uid="u-1", generation=3)
SPEC = TaskQueueSpec(
    redis=RedisSpec(host="redis"),
    worker=WorkerSpec(image="app:1", settings="app.WorkerSettings"),
    scaling=ScalingSpec(cooldown="0s", jobs_per_replica=10),
)
HASH = spec_hash(IDENTITY, SPEC, "runtime:1")
NO_CRONS = ScalingMemory(crons=KnownCrons(template_hash("app:1", "app.WorkerSettings")))
SETTLED = Memory(since_s=NOW - 3600, scaling=NO_CRONS, applied_generation=1, applied_s=NOW - 10)


def pod(name: str, *, ready: bool = True, age_s: float = 100, **changes: Any) -> Pod:
    return Pod(name=name, created_s=NOW - age_s, ready_s=NOW - age_s + 5 if ready else None, **changes)


def beat(name: str, busy: int = 0, *, retiring: bool = False, draining: bool = False) -> Heartbeat:
    return Heartbeat(worker=name, at_ms=0, busy=busy, slots=10, retiring=retiring, draining=draining)


def retired(name: str, busy: int = 0) -> Heartbeat:
    return beat(name, busy, retiring=True)


def state(
    replicas: int, pods: tuple[Pod, ...], beats: tuple[Heartbeat, ...] = (), *, running: int = 0, **changes: Any
) -> State:
    running = max(running, sum(each.busy for each in beats))
    base = State(
        identity=IDENTITY,
        spec=SPEC,
        status=TaskQueueStatus(),
        runtime_image="runtime:1",
        deployment=Deployment(HASH, generation=1, spec_replicas=replicas, replicas=replicas, ready_replicas=replicas),
        pods=pods,
        queue=QueueSnapshot(at_ms=int(NOW * 1000), running=running, heartbeats=beats),
        memory=SETTLED,
    )
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("given_state", "fewest"),
    [
        pytest.param(state(2, (pod("a"), pod("b")), (beat("a"), beat("b"))), 2, id="idle pods that take jobs stay"),
        pytest.param(
            state(2, (pod("a"), pod("b")), (retired("a"), beat("b"))), 1, id="one that is idle in retirement may go"
        ),
        pytest.param(
            state(2, (pod("a"), pod("b")), (retired("a", busy=1), beat("b"))),
            2,
            id="one that retires and runs a job stays",
        ),
        pytest.param(
            state(2, (pod("a"), pod("b", ready=False)), (beat("a"),)), 1, id="one that has not started may go"
        ),
        pytest.param(
            state(2, (pod("a"), pod("b", ready=False)), (beat("a"), beat("b"))),
            2,
            id="one that starts and writes heartbeats may take a job any moment",
        ),
        pytest.param(
            state(3, (pod("a"), pod("b"), pod("c", ready=False)), (retired("a"), beat("b"), beat("c", busy=1))),
            3,
            id="a busy pod that is not ready any more would go before the idle ones",
        ),
        pytest.param(state(4, (pod("a"),), (beat("a", 1),)), 1, id="pods that were not made yet are none"),
        pytest.param(state(2, (pod("a"), pod("b"))), 0, id="plain workers may go while nothing runs"),
        pytest.param(state(2, (pod("a"), pod("b")), running=1), 2, id="plain workers stay while one runs a job"),
        pytest.param(
            state(2, (pod("a"), pod("b")), (beat("a", busy=1), beat("b", draining=True))),
            1,
            id="one that drains and is idle may go",
        ),
        pytest.param(
            state(1, (pod("a"), pod("b", terminating=True)), (beat("a"), retired("b"))),
            1,
            id="one that is stopping is not counted",
        ),
        pytest.param(
            state(
                2,
                (pod("old", template="1"), pod("old-2", template="1"), pod("new", template="2")),
                (retired("old"), retired("old-2"), beat("new", busy=1)),
            ),
            2,
            id="in a rollout the busy new pod may be chosen",
        ),
        pytest.param(
            state(
                2,
                (pod("old", template="1"), pod("old-2", template="1"), pod("new", template="2", ready=False)),
                (retired("old"), beat("old-2")),
            ),
            1,
            id="in a rollout one may go where each template has one that is safe",
        ),
    ],
)
def test_no_more_go_than_are_safe_whoever_kubernetes_takes(given_state: State, fewest: int) -> None:
    assert fewest_without_harm(given_state) == fewest


def test_those_that_go_cost_less_than_all_others() -> None:
    pods = (pod("busy"), pod("idle"), pod("gone"), pod("stays", deletion_cost=GONE_COST))
    seen = state(4, pods, (beat("busy", 3), beat("idle"), retired("gone"), retired("stays")))

    going = victims(seen, 3, frozenset({"gone"}))

    assert going == {"gone"}
    assert deletion_costs(seen, going) == {"gone": GONE_COST, "stays": 0}


def test_costs_that_stand_already_are_not_written_again() -> None:
    pods = (pod("a", deletion_cost=GONE_COST), pod("b"))

    assert deletion_costs(state(2, pods, (retired("a"), beat("b", 2))), frozenset({"a"})) == {}


def test_a_person_who_asks_for_fewer_gets_them_at_once_and_the_least_busy_go() -> None:
    pods = (pod("a"), pod("b"), pod("c"))
    seen = state(3, pods, (beat("a", 4), beat("b", 1), beat("c", 2)), spec=SPEC.model_copy(update={"replicas": 1}))

    plan = decide(seen, NOW)

    assert plan.replicas == 1
    assert plan.deletion_costs == {"a": 4, "b": 1, "c": 2}


def test_a_pod_is_asked_to_retire_before_it_goes_and_stays_asked_until_it_is_stopped() -> None:
    busy = beat("b", 10)
    seen, plans = state(2, (pod("a"), pod("b"))), []
    for at_s, first in ((0, beat("a")), (1, beat("a")), (2, retired("a")), (3, retired("a")), (4, None)):
        beats = (first, busy) if first else (busy,)
        pods = (pod("a"), pod("b")) if first else (pod("a", terminating=True), pod("b"))
        queue = QueueSnapshot(at_ms=int((NOW + at_s) * 1000), running=10, heartbeats=beats)
        plan = decide(replace(seen, pods=pods, queue=queue), NOW + at_s)
        plans.append(plan)
        seen = replace(seen, memory=plan.memory)
        if plan.replicas is not None and seen.deployment is not None:
            seen = replace(seen, deployment=replace(seen.deployment, spec_replicas=plan.replicas))

    assert [plan.replicas for plan in plans] == [None, None, 1, None, None]
    assert [set(plan.retire) for plan in plans] == [{"a"}, {"a"}, {"a"}, {"a"}, set()]
    assert plans[2].deletion_costs == {"a": GONE_COST}


def test_a_pod_that_was_given_away_takes_no_job_though_load_is_back() -> None:
    given_away = replace(SETTLED, leaving={"a": NOW - 1})
    seen = state(1, (pod("a"), pod("b")), (retired("a"), beat("b", 10)), memory=given_away)
    assert seen.queue is not None
    loaded = replace(seen, queue=replace(seen.queue, waiting=40))

    plan = decide(loaded, NOW)

    assert plan.replicas is not None
    assert plan.replicas > 1
    assert plan.retire == {"a"}


@pytest.mark.parametrize(
    ("pods", "age_s", "leaves"),
    [
        pytest.param((pod("a"),), 1, True, id="until Kubernetes stops it"),
        pytest.param((pod("a", terminating=True),), 1, False, id="not once it is stopping"),
        pytest.param((), 1, False, id="not once it is gone"),
        pytest.param((pod("a"),), LEAVING_S, False, id="not for ever"),
    ],
)
def test_a_pod_is_taken_for_leaving(pods: tuple[Pod, ...], age_s: float, leaves: bool) -> None:
    seen = state(1, pods, memory=replace(SETTLED, leaving={"a": NOW - age_s}))

    assert bool(still_leaving(seen, NOW)) == leaves


@st.composite
def fleets(draw: st.DrawFn) -> State:
    pods, beats = [], []
    for number in range(draw(st.integers(min_value=1, max_value=8))):
        name = f"pod-{number}"
        pods.append(
            pod(
                name,
                ready=draw(st.booleans()),
                age_s=draw(st.integers(min_value=10, max_value=500)),
                template=draw(st.sampled_from(["1", "1", "2"])),
                terminating=draw(st.sampled_from([False, False, False, True])),
                deletion_cost=draw(st.sampled_from([None, None, -1, -5, 0, 3])),
            )
        )
        if draw(st.sampled_from([True, True, True, False])):
            busy = draw(st.sampled_from([0, 0, 0, 1, 5]))
            beats.append(beat(name, busy, retiring=draw(st.booleans())))
    asked = tuple((one.name, NOW - 60) for one in pods if draw(st.booleans()))
    memory = replace(SETTLED, scaling=replace(NO_CRONS, retire=asked, worked_s=NOW - 3600))
    living = sum(not one.terminating for one in pods)
    replicas = draw(st.integers(min_value=max(0, living - 1), max_value=living + 2))
    return state(replicas, tuple(pods), tuple(beats), running=draw(st.integers(0, 3)), memory=memory)


@given(fleets(), st.data())
def test_whatever_kubernetes_chooses_no_job_is_cut(seen: State, data: st.DataObject) -> None:
    """Kubernetes' order with every tie and every share between templates decided by chance."""
    plan = decide(seen, NOW)
    assert seen.deployment is not None
    assert seen.queue is not None
    if plan.replicas is None or plan.replicas >= seen.deployment.spec_replicas:
        return
    living = [one for one in seen.pods if not one.terminating]
    beats = {one.worker: one for one in seen.queue.heartbeats}
    untold = seen.queue.running > sum(one.busy for one in beats.values())

    def is_cut(one: Pod) -> bool:
        told = beats.get(one.name)
        if told is None:
            return one.ready_s is not None and untold
        return told.busy > 0 or not told.retiring

    def cost(one: Pod) -> int:
        return plan.deletion_costs.get(one.name, one.deletion_cost or 0)

    count = max(0, min(len(living), seen.deployment.spec_replicas) - plan.replicas)
    for _ in range(count):
        template = data.draw(st.sampled_from(sorted({one.template for one in living})))
        group = [one for one in living if one.template == template]
        first = min((one.ready_s is not None, cost(one)) for one in group)
        candidates = [one for one in group if (one.ready_s is not None, cost(one)) == first]
        # Whether a pod has a node and runs comes before the costs.
        candidates += [one for one in group if one.ready_s is None and one.name not in beats]
        taken = data.draw(st.sampled_from(candidates))
        assert not is_cut(taken)
        assert taken.name in plan.retire
        living.remove(taken)
