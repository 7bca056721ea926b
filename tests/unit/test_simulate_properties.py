"""What holds in every simulation, whatever arrives and whatever a policy does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arqube_local.simulate.jobs import Arrival, Job
from arqube_local.simulate.kubernetes import Pod
from arqube_local.simulate.loads import SHAPES, Load
from arqube_local.simulate.policies import POLICIES
from arqube_local.simulate.simulation import Conditions, Simulation
from arqube_local.simulate.workers import Worker
from arqube_local.simulate.world import World
from arqube_operator.api.v1alpha1 import TaskQueueSpec

SECONDS = 300.0
SPEC = TaskQueueSpec.model_validate(
    {
        "redis": {"host": "redis"},
        "worker": {"image": "app", "settings": "app.WorkerSettings", "concurrency": 2},
        "scaling": {"maxReplicas": 5},
    },
    by_alias=True,
)


@dataclass
class Whim:
    """A policy that does at each time what it was told: a number of pods, and which of them retire."""

    acts: list[tuple[float, int, int]]
    grace_s: float

    def start(self, world: World) -> None:
        world.engine.every(1.0, lambda: world.fleet.beat(int(world.engine.now * 1000), {}))
        for at_s, replicas, marked in self.acts:
            world.engine.at(at_s, self._act, world, replicas, marked)

    def _act(self, world: World, replicas: int, marked: int) -> None:
        world.fleet.marks = frozenset(sorted(world.fleet.workers)[:marked])
        world.deployment.scale(replicas)


times = st.floats(0.0, SECONDS, allow_nan=False)
jobs = st.lists(st.tuples(times, st.floats(0.0, 100.0), st.floats(0.01, 90.0)), max_size=40)
acts = st.lists(st.tuples(times, st.integers(0, 6), st.integers(0, 3)), max_size=12)


def _load(drawn: list[tuple[float, float, float]]) -> Load:
    arrivals = sorted(
        (Arrival(at_s, at_s + later_s, run_s) for at_s, later_s, run_s in drawn), key=lambda job: job.at_s
    )
    return Load("drawn", SECONDS, tuple(arrivals))


@settings(max_examples=150, deadline=None)
@given(jobs, acts, st.floats(0.0, 60.0), st.integers(0, 2**32))
def test_no_job_is_lost_or_runs_twice_at_once_and_each_pod_is_paid_for_as_long_as_it_lives(
    drawn: list[tuple[float, float, float]], told: list[tuple[float, int, int]], grace_s: float, seed: int
) -> None:
    policy = Whim(told, grace_s)
    simulation = Simulation(_load(drawn), policy, Conditions(2, 30.0, (1.0, 30.0), seed))
    lives: dict[str, tuple[float, float]] = {}
    exited, engine = simulation.deployment.exited, simulation._engine

    def note(pod: Pod) -> None:
        exited(pod)
        lives[pod.name] = (pod.created_s, engine.now)

    simulation.deployment.exited = note  # type: ignore[method-assign]
    ended: list[int] = []
    end = simulation.fleet._end

    def note_end(worker: Worker, job: Job) -> None:
        if job in worker.jobs:
            ended.append(job.number)
        end(worker, job)

    simulation.fleet._end = note_end  # type: ignore[method-assign]

    def look() -> None:
        queue, workers = simulation.queue, simulation.fleet.workers.values()
        on_workers = Counter(job.number for worker in workers for job in worker.jobs)
        waiting = {job.number for job in queue.waiting_jobs()}
        assert all(count == 1 for count in on_workers.values())
        assert not waiting & on_workers.keys()
        assert len(on_workers) == queue.running
        assert len(simulation.jobs) == queue.members + len(ended)
        assert len(ended) == len(set(ended))
        assert all(len(worker.jobs) <= 2 for worker in workers)
        if any(len(w.jobs) < 2 and not w.pod.terminating and not w.retiring for w in workers):
            assert not waiting, "a job waits beside a free slot"
        for job in simulation.jobs:
            assert job.started_s is None or job.started_s >= job.due_s

    engine.every(1.7, look)
    result = simulation.run()
    look()
    lives |= {pod.name: (pod.created_s, SECONDS) for pod in simulation.deployment.pods}
    assert len(lives) == simulation.deployment.created
    assert result.pod_hours == pytest.approx(sum(end - start for start, end in lives.values()) / 3600)
    assert result.interrupted == sum(job.interrupted for job in simulation.jobs)
    assert len(simulation.jobs) == len(drawn)


@settings(max_examples=30, deadline=None)
@given(jobs, st.integers(0, 2**32))
def test_all_that_arrives_ends_when_there_is_time_and_a_pod(drawn: list[tuple[float, float, float]], seed: int) -> None:
    load = Load("drawn", 10_000.0, _load(drawn).arrivals)
    simulation = Simulation(load, Whim([(0.0, 1, 0)], 30.0), Conditions(2, 30.0, (1.0, 30.0), seed))
    result = simulation.run()
    (worker,) = simulation.fleet.workers.values()
    assert worker.finished == len(drawn) == result.jobs
    assert simulation.queue.members == result.interrupted == 0


def test_a_policy_that_kills_busy_pods_shows_interruptions() -> None:
    busy = Load("busy", SECONDS, tuple(Arrival(0.0, 0.0, 120.0) for _ in range(4)))
    conditions = Conditions(2, 30.0, (5.0, 5.0), 1)
    ruthless = Simulation(busy, Whim([(0.0, 2, 0), (60.0, 0, 0), (61.0, 2, 0)], grace_s=30.0), conditions)
    assert ruthless.run().interrupted == 4
    patient = Simulation(busy, Whim([(0.0, 2, 0), (60.0, 0, 0), (61.0, 2, 0)], grace_s=120.0), conditions)
    assert patient.run().interrupted == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_simulation_and_another_seed_another(policy: str) -> None:
    def run(seed: int) -> tuple[object, object]:
        load = SHAPES["bursty"].load("bursty", seed, hours=0.2)
        simulation = Simulation(load, POLICIES[policy](SPEC), Conditions(2, 30.0, (8.0, 25.0), seed))
        return simulation.run(), simulation.course()

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_every_policy_gets_the_same_start_up_times_in_the_order_of_creation() -> None:
    load = SHAPES["step"].load("step", 3, hours=0.2)
    by_policy = {}
    for policy in POLICIES:
        simulation = Simulation(load, POLICIES[policy](SPEC), Conditions(2, 30.0, (8.0, 25.0), 3))
        taken = by_policy[policy] = {}
        begin = simulation.fleet.begin

        def note(pod: Pod, taken: dict[str, float] = taken, begin: object = begin) -> None:
            taken[pod.name] = pod.ready_s - pod.created_s  # type: ignore[operator]
            begin(pod)  # type: ignore[operator]

        simulation.fleet.begin = note  # type: ignore[method-assign]
        simulation.run()
    for one in by_policy.values():
        for other in by_policy.values():
            shared = one.keys() & other.keys()
            assert shared
            assert all(one[name] == pytest.approx(other[name]) for name in shared)
