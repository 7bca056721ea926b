"""One simulation: a load against a policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from arqube_local.simulate.engine import Engine
from arqube_local.simulate.jobs import Job, JobQueue
from arqube_local.simulate.kubernetes import Deployment, Pod
from arqube_local.simulate.loads import Cron, Load
from arqube_local.simulate.results import Course, Result, Sample, percentile
from arqube_local.simulate.workers import Fleet
from arqube_local.simulate.world import Policy, World

SAMPLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for every policy.

    Attributes:
        slots: Jobs a pod runs at once.
        max_wait_s: A job that starts within this of being due is in time.
        startup_s: The shortest and the longest time from a pod's creation to its readiness.
        seed: Of the start-up times, phases and claims.
    """

    slots: int
    max_wait_s: float
    startup_s: tuple[float, float]
    seed: int


class Simulation:
    """Runs ``load`` against ``policy``; afterwards the attributes tell what happened.

    Attributes:
        jobs: All that arrived.
        missed_crons: Cron runs that no worker was there for.
        samples: The course, each ``SAMPLE_S`` seconds.
    """

    def __init__(self, load: Load, policy: Policy, conditions: Conditions) -> None:
        self.jobs: list[Job] = []
        self.missed_crons = 0
        self.samples: list[Sample] = []
        self.queue = JobQueue()
        self._load = load
        self._conditions = conditions
        self._engine = Engine()
        self._arrivals = iter(load.arrivals)
        self.fleet = Fleet(
            self._engine,
            self.queue,
            conditions.slots,
            self._exited,
            Random(f"{conditions.seed}/claims"),  # noqa: S311
        )
        self.deployment = Deployment(
            self._engine,
            self.fleet,
            self._startup_s(),
            policy.grace_s,
            Random(f"{conditions.seed}/uids"),  # noqa: S311
        )
        self._cron_due_s: dict[str, float] = {}
        for cron in load.crons:
            self._await_cron(cron, 0)
        phases = Random(f"{conditions.seed}/phases")  # noqa: S311
        self._next_arrival()
        policy.start(World(self._engine, self.queue, self.fleet, self.deployment, phases, self._cron_due_s))
        self._engine.every(SAMPLE_S, self._sample)

    @property
    def now(self) -> float:
        """Seconds from the start."""
        return self._engine.now

    def run(self) -> Result:
        """Run to the end of the load."""
        self._engine.run(self._load.seconds)
        max_wait_s, end_s = self._conditions.max_wait_s, self._engine.now
        waits = [job.started_s - job.due_s for job in self.jobs if job.started_s is not None]
        late = sum(wait > max_wait_s for wait in waits)
        unstarted = [end_s - job.due_s for job in self.jobs if job.started_s is None and end_s - job.due_s > max_wait_s]
        jobs = len(waits) + len(unstarted) + self.missed_crons
        missed = late + len(unstarted) + self.missed_crons
        return Result(
            jobs=jobs,
            missed=missed,
            slo_share=1.0 - missed / jobs if jobs else 1.0,
            p50_wait_s=percentile(waits + unstarted, 0.5),
            p95_wait_s=percentile(waits + unstarted, 0.95),
            pod_hours=self.deployment.pod_seconds() / 3600,
            scale_events=self.deployment.scale_events,
            interrupted=self.fleet.interrupted,
        )

    def course(self) -> Course:
        """What can be drawn of it."""
        waits = ((job.due_s, job.started_s - job.due_s) for job in self.jobs if job.started_s is not None)
        return Course(tuple(self.samples), tuple(waits))

    def _startup_s(self) -> Iterator[float]:
        random = Random(f"{self._conditions.seed}/startup")  # noqa: S311
        while True:
            yield random.uniform(*self._conditions.startup_s)

    def _exited(self, pod: Pod) -> None:
        self.deployment.exited(pod)

    def _next_arrival(self) -> None:
        """Schedule the next one only when this one is there: the engine stays small."""
        arrival = next(self._arrivals, None)
        if arrival is not None:
            self._engine.at(arrival.at_s, self._arrive, arrival.due_s, arrival.run_s)

    def _arrive(self, due_s: float, run_s: float) -> None:
        self._enqueue(due_s, run_s)
        self._next_arrival()

    def _enqueue(self, due_s: float, run_s: float) -> None:
        job = Job(len(self.jobs), due_s, run_s)
        self.jobs.append(job)
        if due_s > self._engine.now:
            self.queue.defer(job)
            self._engine.at(due_s, self._fall_due, job)
        else:
            self.fleet.arrive(job)

    def _fall_due(self, job: Job) -> None:
        self.queue.fall_due()
        self.fleet.arrive(job)

    def _await_cron(self, cron: Cron, run: int) -> None:
        if run == len(cron.due_s):
            self._cron_due_s.pop(cron.name, None)
            return
        self._cron_due_s[cron.name] = cron.due_s[run]
        self._engine.at(cron.due_s[run], self._run_cron, cron, run)

    def _run_cron(self, cron: Cron, run: int) -> None:
        if self.deployment.ready:
            self._enqueue(self._engine.now, cron.run_s)
        else:
            self.missed_crons += 1
        self._await_cron(cron, run + 1)

    def _sample(self) -> None:
        deployment, queue = self.deployment, self.queue
        self.samples.append(
            Sample(
                at_s=self._engine.now,
                replicas=deployment.replicas,
                ready=deployment.ready,
                pods=len(deployment.pods),
                waiting=queue.waiting,
                running=queue.running,
            )
        )
