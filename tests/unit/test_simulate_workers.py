"""The simulated workers: claims, ends, heartbeats, stops and retirement."""

from __future__ import annotations

from random import Random

import pytest

from arqube_local.simulate.engine import Engine
from arqube_local.simulate.jobs import Job, JobQueue
from arqube_local.simulate.kubernetes import Pod
from arqube_local.simulate.workers import Fleet


class World:
    def __init__(self, slots: int) -> None:
        self.engine = Engine()
        self.queue = JobQueue()
        self.gone: list[str] = []
        random = Random(1)  # noqa: S311
        self.fleet = Fleet(self.engine, self.queue, slots, lambda pod: self.gone.append(pod.name), random)
        self.jobs: list[Job] = []

    def pod(self, name: str) -> Pod:
        pod = Pod(name, 0, self.engine.now)
        pod.ready_s = self.engine.now
        self.fleet.begin(pod)
        return pod

    def job(self, run_s: float, due_s: float | None = None) -> Job:
        job = Job(len(self.jobs), self.engine.now if due_s is None else due_s, run_s)
        self.jobs.append(job)
        self.fleet.arrive(job)
        return job

    def stop(self, pod: Pod) -> None:
        pod.terminating = True
        self.fleet.stop(pod)

    def running_on(self, pod: Pod) -> list[Job]:
        return list(self.fleet.workers[pod.name].jobs)


@pytest.fixture
def world() -> World:
    return World(slots=2)


def test_a_job_runs_for_its_time_and_frees_its_slot(world: World) -> None:
    pod = world.pod("a")
    first, second, third = world.job(10), world.job(20), world.job(5)
    assert (world.running_on(pod), world.queue.waiting) == ([first, second], 1)
    world.engine.run(10)
    assert (world.running_on(pod), third.started_s) == ([second, third], 10)
    world.engine.run(100)
    assert (world.queue.members, world.fleet.workers["a"].run_seconds) == (0, 35)


def test_the_job_that_has_been_due_for_longest_is_taken_first(world: World) -> None:
    world.engine.run(50)
    late, early = world.job(10, due_s=40), world.job(10, due_s=30)
    third = world.job(10, due_s=20)
    pod = world.pod("a")
    assert world.running_on(pod) == [third, early]
    assert late.started_s is None


def test_a_stopped_worker_takes_no_more_jobs_and_exits_when_the_last_one_has_ended(world: World) -> None:
    pod = world.pod("a")
    world.job(10)
    world.stop(pod)
    waiting = world.job(1)
    world.engine.run(9)
    assert (world.gone, waiting.started_s) == ([], None)
    world.engine.run(10)
    assert (world.gone, world.fleet.workers, waiting.started_s) == (["a"], {}, None)


def test_an_idle_worker_exits_at_once(world: World) -> None:
    world.stop(world.pod("a"))
    assert world.gone == ["a"]


def test_a_cut_job_is_counted_and_goes_back_to_the_head_of_the_queue_and_runs_whole_again(world: World) -> None:
    pod = world.pod("a")
    cut = world.job(100)
    world.stop(pod)
    world.engine.run(30)
    other = world.job(10)
    world.fleet.kill(pod)
    assert (world.fleet.interrupted, cut.interrupted, world.queue.waiting) == (1, 1, 2)
    replacement = World.pod(world, "b")
    assert world.running_on(replacement) == [cut, other]
    world.engine.run(129)
    assert cut in world.running_on(replacement), "its end on the first pod does not count"
    world.engine.run(130)
    assert world.running_on(replacement) == []
    assert cut.started_s == 0, "a wait ends with the first start"


def test_a_marked_worker_heeds_and_tells_it_with_its_next_heartbeat_and_finishes_its_jobs(world: World) -> None:
    pod = world.pod("a")
    running = world.job(10)
    world.fleet.marks = frozenset({"a"})
    taken = world.job(10)
    assert taken.started_s == 0, "not before the heartbeat"
    world.fleet.beat(1000, {})
    beat = world.fleet.workers["a"].heartbeat
    assert beat is not None
    assert (beat.retiring, beat.busy) == (True, 2)
    waiting = world.job(1)
    world.engine.run(10)
    assert (running in world.running_on(pod), waiting.started_s) == (False, None)
    world.fleet.beat(2000, {})
    beat = world.fleet.workers["a"].heartbeat
    assert beat is not None
    assert (beat.retiring, beat.busy, beat.finished) == (True, 0, {"succeeded": 2})


def test_a_worker_that_is_marked_no_longer_takes_jobs_again(world: World) -> None:
    pod = world.pod("a")
    world.fleet.marks = frozenset({"a"})
    world.fleet.beat(1000, {})
    job = world.job(10)
    world.fleet.marks = frozenset()
    world.fleet.beat(2000, {})
    assert world.running_on(pod) == [job]


def test_a_heartbeat_tells_what_the_real_one_tells(world: World) -> None:
    pod = world.pod("a")
    world.job(3)
    world.job(100)
    world.engine.run(5)
    world.job(50)
    world.stop(pod)
    world.fleet.beat(5000, {"nightly": 99_000})
    beat = world.fleet.workers["a"].heartbeat
    assert beat is not None
    assert (beat.worker, beat.at_ms, beat.busy, beat.slots, beat.draining) == ("a", 5000, 2, 2, True)
    assert (beat.started, beat.finished, beat.run_seconds) == (3, {"succeeded": 1}, 3)
    assert beat.cron_runs == {"nightly": 99_000}
