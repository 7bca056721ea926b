"""How many workers: the policy's table and what must hold for every state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import RedisSpec, ScalingSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.decide.scaling import ScalingMemory, decide_replicas
from arqube_operator.decide.state import Deployment, Identity, Memory, Problem, State
from arqube_queue.model import QueueSnapshot

NOW = 1_000_000.0
IDENTITY = Identity(name="emails", namespace="default", uid="u-1", generation=1)
SETTLED = Memory(since_s=NOW - 3600)
AWAY = Problem("RedisUnreachable", "Redis at redis:6379/0 does not answer: refused")


def state(
    *,
    waiting: int = 0,
    running: int = 0,
    due_soon: int = 0,
    current: int | None = 0,
    concurrency: int = 10,
    replicas: int | None = None,
    memory: Memory = SETTLED,
    read: bool = True,
    problem: Problem | None = None,
    **scaling: Any,
) -> State:
    scaling = {"min_replicas": 0, "max_replicas": 10, "cooldown": "30s"} | scaling
    return State(
        identity=IDENTITY,
        spec=TaskQueueSpec(
            redis=RedisSpec(host="redis"),
            worker=WorkerSpec(image="app:1", settings="app.WorkerSettings", concurrency=concurrency),
            scaling=ScalingSpec(**scaling),
            replicas=replicas,
        ),
        status=TaskQueueStatus(),
        runtime_image="arqube-worker:1",
        deployment=None if current is None else Deployment(spec_hash="h", generation=1, spec_replicas=current),
        queue=QueueSnapshot(at_ms=0, waiting=waiting, running=running, due_soon=due_soon) if read else None,
        redis_problem=problem,
        memory=memory,
    )


@pytest.mark.parametrize(
    ("given_state", "replicas", "reason"),
    [
        pytest.param(state(), 0, "Idle", id="an empty queue needs none"),
        pytest.param(state(waiting=1), 1, "ScalingUp", id="one waiting job starts a worker"),
        pytest.param(state(waiting=25), 3, "ScalingUp", id="25 jobs at 10 a worker need 3"),
        pytest.param(state(waiting=20), 2, "ScalingUp", id="a full worker needs no spare"),
        pytest.param(state(due_soon=1), 1, "ScalingUp", id="a job due within the start-up time starts a worker"),
        pytest.param(state(waiting=5, running=10, due_soon=6, current=1), 3, "ScalingUp", id="all three are summed"),
        pytest.param(state(waiting=500), 10, "AtMaxReplicas", id="never more than the maximum"),
        pytest.param(state(waiting=500, current=10), 10, "AtMaxReplicas", id="at the maximum it says so"),
        pytest.param(state(min_replicas=2), 2, "ScalingUp", id="the floor is seen to"),
        pytest.param(state(min_replicas=2, current=2), 2, "AtMinReplicas", id="at the floor it says so"),
        pytest.param(state(running=20, current=2), 2, "Steady", id="as many as needed is steady"),
        pytest.param(state(current=3), 0, "ScalingDown", id="idle for the whole cool-down takes all away"),
        pytest.param(state(running=1, current=3), 1, "ScalingDown", id="a running job keeps one"),
        pytest.param(state(current=3, min_replicas=1), 1, "ScalingDown", id="down to the floor"),
        pytest.param(
            state(current=3, memory=replace(SETTLED, scaling=ScalingMemory(((NOW - 10, 3),)))),
            3,
            "CoolingDown",
            id="three were needed within the cool-down, so three stay",
        ),
        pytest.param(
            state(current=5, memory=replace(SETTLED, scaling=ScalingMemory(((NOW - 10, 2),)))),
            2,
            "ScalingDown",
            id="down to the most that was needed within the cool-down",
        ),
        pytest.param(
            state(current=3, memory=replace(SETTLED, scaling=ScalingMemory(((NOW - 31, 3),)))),
            0,
            "ScalingDown",
            id="what was needed before the cool-down is forgotten",
        ),
        pytest.param(state(current=30, memory=Memory()), 10, "ScalingDown", id="a lowered maximum holds at once"),
        pytest.param(state(current=3, memory=Memory()), 3, "CoolingDown", id="a new leader waits a whole cool-down"),
        pytest.param(
            state(current=3, cooldown="0s", memory=Memory()), 0, "ScalingDown", id="no cool-down takes them at once"
        ),
        pytest.param(
            state(waiting=30, current=1, memory=Memory()), 3, "ScalingUp", id="a new leader scales up without waiting"
        ),
        pytest.param(state(waiting=500, replicas=2), 2, "ManualReplicas", id="spec.replicas overrules the queue"),
        pytest.param(state(replicas=0, running=5, current=3), 0, "ManualReplicas", id="spec.replicas 0 stops all"),
        pytest.param(state(read=False, current=4), None, "NotYetRead", id="an unread queue changes nothing"),
        pytest.param(
            state(read=False, current=4, problem=AWAY), 4, "RedisUnreachable", id="without Redis the number is held"
        ),
        pytest.param(state(problem=AWAY, current=4), 4, "RedisUnreachable", id="a stale snapshot takes no worker away"),
        pytest.param(
            state(problem=AWAY, current=0, min_replicas=2, read=False),
            2,
            "RedisUnreachable",
            id="without Redis the floor is still seen to",
        ),
        pytest.param(state(waiting=15, current=None), 2, "ScalingUp", id="a Deployment yet to be made counts as none"),
    ],
)
def test_the_number_of_workers(given_state: State, replicas: int | None, reason: str) -> None:
    decision = decide_replicas(given_state, NOW)

    assert (decision.replicas, decision.reason) == (replicas, reason)
    assert decision.message


def test_the_message_holds_the_terms() -> None:
    message = decide_replicas(state(waiting=25, running=3, due_soon=2), NOW).message

    assert message == "25 waiting, 3 running, 2 due within 10 s, at 10 a worker: 3 needed of 0 to 10"


def test_an_outage_begins_the_cooldown_anew() -> None:
    blind = decide_replicas(state(problem=AWAY, current=4), NOW)
    memory = replace(SETTLED, scaling=blind.memory)

    soon = decide_replicas(state(current=4, memory=memory), NOW + 29)
    later = decide_replicas(state(current=4, memory=memory), NOW + 31)

    assert (soon.replicas, later.replicas) == (4, 0)


counts = st.integers(min_value=0, max_value=5000)
states = st.builds(
    state,
    waiting=counts,
    running=counts,
    due_soon=counts,
    current=st.integers(min_value=0, max_value=60),
    concurrency=st.integers(min_value=1, max_value=50),
    min_replicas=st.integers(min_value=0, max_value=5),
    max_replicas=st.integers(min_value=5, max_value=50),
    memory=st.builds(
        Memory,
        since_s=st.one_of(st.none(), st.floats(min_value=NOW - 100, max_value=NOW)),
        scaling=st.lists(
            st.tuples(st.floats(min_value=NOW - 100, max_value=NOW), st.integers(min_value=0, max_value=50)), max_size=5
        ).map(lambda entries: ScalingMemory(tuple(sorted(entries)))),
    ),
)


@given(states)
def test_work_never_meets_zero_workers(any_state: State) -> None:
    queue = any_state.queue
    assert queue is not None

    replicas = decide_replicas(any_state, NOW).replicas

    assert replicas is not None
    if queue.waiting + queue.running + queue.due_soon > 0:
        assert replicas >= 1


@given(states)
def test_the_number_moves_only_towards_what_is_enough_and_stays_within_bounds(any_state: State) -> None:
    scaling = any_state.spec.scaling
    current = any_state.deployment.spec_replicas if any_state.deployment else 0

    replicas = decide_replicas(any_state, NOW).replicas

    assert replicas is not None
    assert scaling.min_replicas <= replicas <= scaling.max_replicas
    enough = decide_replicas(replace(any_state, memory=SETTLED), NOW).replicas
    assert enough is not None
    assert min(enough, current) <= replicas <= max(enough, current)


@given(states)
def test_no_running_job_loses_its_worker_within_the_bounds(any_state: State) -> None:
    queue, spec = any_state.queue, any_state.spec
    assert queue is not None

    replicas = decide_replicas(any_state, NOW).replicas or 0

    assert replicas * spec.worker.concurrency >= min(queue.running, spec.scaling.max_replicas * spec.worker.concurrency)


@given(states, st.lists(st.tuples(st.floats(min_value=0.1, max_value=20), counts), min_size=1, max_size=30))
def test_a_worker_goes_only_when_fewer_were_enough_for_the_whole_cooldown(
    first: State, steps: list[tuple[float, int]]
) -> None:
    """Runs the policy over time and compares each step down with the plain definition of the cool-down."""
    spec, now, memory = first.spec, NOW, Memory()
    current = first.deployment.spec_replicas if first.deployment else 0
    seen: list[tuple[float, int]] = []
    for pause, waiting in steps:
        now += pause
        enough = max(spec.scaling.min_replicas, min(-(-waiting // spec.worker.concurrency), spec.scaling.max_replicas))
        seen.append((now, enough))
        step = replace(
            first,
            deployment=Deployment(spec_hash="h", generation=1, spec_replicas=current),
            queue=QueueSnapshot(at_ms=0, waiting=waiting),
            memory=memory,
        )
        decision = decide_replicas(step, now)
        assert decision.replicas is not None
        if decision.replicas < current:
            window = spec.scaling.cooldown_s
            held = max(count for at, count in seen if at > now - window)
            over = current > spec.scaling.max_replicas and decision.replicas == spec.scaling.max_replicas
            assert over or (now - seen[0][0] >= window and decision.replicas == held)
        current = decision.replicas
        memory = replace(memory, since_s=memory.since_s or now, scaling=decision.memory)
