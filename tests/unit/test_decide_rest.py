"""Rests: a TaskQueue whose passes are left out is treated as one that gets a pass each tick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.loads import Cron, Load
from arqube_local.simulate.operator import START_UNIX_S, Operator
from arqube_local.simulate.simulation import Conditions, Simulation
from arqube_operator.api.v1alpha1 import TaskQueueSpec
from arqube_operator.decide.plan import Plan, decide
from arqube_operator.decide.rest import does_nothing
from arqube_operator.decide.state import Problem, State
from arqube_operator.decide.status import essence
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.queues import Reading
from arqube_operator.rests import Rests

KEY = Key("default", "simulated")
SECONDS = 1500.0
SLOTS = 2


class Diligent(Operator):
    """Makes a pass each tick, and notes what it does but for the counts and sentences of the status."""

    def __init__(self, spec: TaskQueueSpec, outages: list[tuple[float, float]]) -> None:
        super().__init__(spec)
        self.passes = 0
        self.deeds: list[tuple[float, Any, ...]] = []  # type: ignore[misc]
        self._outages = outages

    def _observe(self) -> State:
        state, now = super()._observe(), self._world.engine.now
        if any(start <= now < start + seconds for start, seconds in self._outages):
            return replace(state, queue=self._last, redis_problem=Problem("RedisUnreachable", "it does not answer"))
        self._last = state.queue
        return state

    _last: Any = None

    def _carry_out(self, plan: Plan) -> None:
        self.passes += 1
        told = essence(plan.status or self._status)
        acts = plan.apply is not None or plan.replicas is not None or plan.retire != self._retire
        if acts or told != essence(self._status):
            self.deeds.append((self._world.engine.now, plan.apply, plan.replicas, plan.retire, told))
        super()._carry_out(plan)


class Resting(Diligent):
    """Leaves out the passes that the rule says would do nothing."""

    def __init__(self, spec: TaskQueueSpec, outages: list[tuple[float, float]]) -> None:
        super().__init__(spec, outages)
        self._rests = Rests()
        self._passed: tuple[Any, ...] = ()

    def _tick(self) -> None:
        self._world.fleet.marks = self._retire
        now, state = START_UNIX_S + self._world.engine.now, self._observe()
        cluster = (state.deployment, state.pods, state.spec)
        if self._rests.covers(KEY, Reading(state.queue, state.redis_problem), now) and cluster == self._passed:
            return
        self._memory = self._rests.end(KEY, self._memory)
        state = replace(state, memory=self._memory)
        plan = decide(state, now)
        self._carry_out(plan)
        self._passed = cluster
        if does_nothing(plan):
            self._rests.begin(KEY, replace(state, memory=self._memory), now)


def spec(scaling: dict[str, Any]) -> TaskQueueSpec:
    worker = {"image": "app", "settings": "app.WorkerSettings", "concurrency": SLOTS}
    return TaskQueueSpec.model_validate(
        {"redis": {"host": "redis"}, "worker": worker, "scaling": {"maxReplicas": 5, **scaling}}, by_alias=True
    )


def deeds(policy: Diligent, load: Load, seed: int) -> list[Any]:
    Simulation(load, policy, Conditions(SLOTS, 30.0, (1.0, 30.0), seed)).run()
    return policy.deeds


times = st.floats(0.0, SECONDS, allow_nan=False)
bursts = st.lists(st.tuples(times, st.integers(1, 12), st.floats(0.0, 400.0), st.floats(0.01, 90.0)), max_size=4)
crons = st.lists(times, max_size=3)
outages = st.lists(st.tuples(times, st.floats(1.0, 200.0)), max_size=2)
scalings = st.fixed_dictionaries(
    {
        "minReplicas": st.integers(0, 2),
        "cooldown": st.sampled_from(["0s", "30s", "3m"]),
        "scaleDown": st.sampled_from([{}, {"stabilization": "2m"}, {"maxPods": 1, "period": "1m"}]),
        "fallback": st.sampled_from([{"replicas": 3, "after": "1m"}]),
        "schedules": st.sampled_from(
            [[], [{"name": "early", "start": "7,13 0 * * *", "duration": "3m", "minReplicas": 3}]]
        ),
    },
    optional={"maxWait": st.sampled_from(["5s", "2m"])},
)


# Another number is enough from the middle of a rest on.
@example([(934.05, 10, 247.97, 0.5), (0.0, 7, 0.0, 68.45)], [], [], {"cooldown": "0s"}, 0)
@pytest.mark.timeout(400)
@settings(max_examples=60, deadline=None)
@given(bursts, crons, outages, scalings, st.integers(0, 2**32))
def test_what_is_done_and_when_is_the_same_with_and_without_rests(
    drawn: list[tuple[float, int, float, float]],
    due_s: list[float],
    away: list[tuple[float, float]],
    scaling: dict[str, Any],
    seed: int,
) -> None:
    arrivals = [Arrival(at_s, at_s + later_s, run_s) for at_s, jobs, later_s, run_s in drawn for _ in range(jobs)]
    arrivals.sort(key=lambda arrival: arrival.at_s)
    runs = (Cron("nightly", tuple(sorted(due_s)), 5.0),) if due_s else ()
    load = Load("drawn", SECONDS, tuple(arrivals), runs)

    assert deeds(Resting(spec(scaling), away), load, seed) == deeds(Diligent(spec(scaling), away), load, seed)


def test_a_queue_without_work_gets_a_pass_a_minute() -> None:
    idle = Resting(spec({}), [])
    deeds(idle, Load("idle", 3600.0, ()), 1)
    assert idle.passes < 150  # Sixty, and one each second until the first worker has told its crons and is gone.


@pytest.mark.parametrize(
    ("load", "scaling"),
    [
        pytest.param(
            Load("deferred", SECONDS, (Arrival(0.0, 700.0, 5.0),)), {}, id="a deferred job's pod is up when it is due"
        ),
        pytest.param(
            Load("cron", SECONDS, (), (Cron("hourly", (700.0,), 5.0),)), {}, id="a cron run's pod is up when it is due"
        ),
    ],
)
def test_nothing_known_to_come_is_slept_through(load: Load, scaling: dict[str, Any]) -> None:
    policy = Resting(spec(scaling), [])
    simulation = Simulation(load, policy, Conditions(SLOTS, 30.0, (1.0, 8.0), 1))
    simulation.run()
    assert simulation.missed_crons == 0
    assert all(job.started_s is not None and job.started_s - job.due_s < 1 for job in simulation.jobs)
    assert policy.passes < SECONDS / 4
