"""The workers in the pods: who takes which job, what a stop does, heartbeats, and retirement.

Retirement: a worker whose name is marked takes no more jobs from its next heartbeat on, which tells it, until it is
marked no longer; its jobs go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from arqube_local.simulate.engine import Engine
from arqube_local.simulate.jobs import Job, JobQueue
from arqube_local.simulate.kubernetes import Pod
from arqube_queue.model import Heartbeat


class Worker:
    """The worker of one ready pod.

    Attributes:
        jobs: What runs on it, with the times of the starts.
        started: Jobs that began on it.
        finished: Jobs that ended on it, not counting those that were cut.
        run_seconds: How long the finished ones ran.
        retiring: It takes no more jobs, as it was marked.
        place: Its index among the workers that have a free slot; -1 when it takes none.
        heartbeat: The last it wrote.
    """

    __slots__ = ("finished", "heartbeat", "jobs", "place", "pod", "retiring", "run_seconds", "started")

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.jobs: dict[Job, float] = {}
        self.started = 0
        self.finished = 0
        self.run_seconds = 0.0
        self.retiring = False
        self.place = -1
        self.heartbeat: Heartbeat | None = None


class Fleet:
    """All workers of one queue.

    Args:
        exited: Told of each pod whose worker has stopped after it was asked to.
        random: Draws which of the free workers takes a job.

    Attributes:
        workers: By pod name, those of pods that are ready or on their way out.
        marks: Names of workers that shall retire.
    """

    def __init__(
        self, engine: Engine, queue: JobQueue, slots: int, exited: Callable[[Pod], None], random: Random
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self.marks: frozenset[str] = frozenset()
        self.interrupted = 0
        self._engine = engine
        self._queue = queue
        self._slots = slots
        self._exited = exited
        self._random = random.random
        self._free: list[Worker] = []

    def begin(self, pod: Pod) -> None:
        """A worker starts to take jobs."""
        worker = self.workers[pod.name] = Worker(pod)
        self._take(worker)

    def stop(self, pod: Pod) -> None:
        """SIGTERM: no more jobs; the worker exits when the last one has ended."""
        worker = self.workers[pod.name]
        self._leave(worker)
        if not worker.jobs:
            self._exit(worker)

    def kill(self, pod: Pod) -> None:
        """The grace is over: what still runs is cut and goes back to the queue."""
        worker = self.workers.pop(pod.name)
        cut, worker.jobs = worker.jobs, {}
        self.interrupted += len(cut)
        self._queue.running -= len(cut)
        for job in cut:
            job.interrupted += 1
            self.arrive(job)

    def arrive(self, job: Job) -> None:
        """A job is due: a free worker takes it, else it waits."""
        if self._free:
            self._run(self._free[int(self._random() * len(self._free))], job)
        else:
            self._queue.push(job)

    def beat(self, unix_ms: int, cron_runs: Mapping[str, int]) -> None:
        """Each worker heeds whether it is marked to retire, and writes its heartbeat."""
        for name, worker in self.workers.items():
            marked = name in self.marks
            if marked != worker.retiring:
                worker.retiring = marked
                if marked:
                    self._leave(worker)
                elif not worker.pod.terminating:
                    self._take(worker)
            worker.heartbeat = Heartbeat(
                worker=name,
                at_ms=unix_ms,
                busy=len(worker.jobs),
                slots=self._slots,
                draining=worker.pod.terminating,
                retiring=marked,
                started=worker.started,
                finished={"succeeded": worker.finished},
                run_seconds=worker.run_seconds,
                cron_runs=cron_runs,
            )

    def _take(self, worker: Worker) -> None:
        """Fill the worker's slots from the queue; with one left it waits for more."""
        queue = self._queue
        while queue.waiting and len(worker.jobs) < self._slots:
            self._run(worker, queue.pop())
        if worker.place < 0 and len(worker.jobs) < self._slots:
            worker.place = len(self._free)
            self._free.append(worker)

    def _leave(self, worker: Worker) -> None:
        """Out of those that have a free slot; the last one takes its place."""
        if worker.place < 0:
            return
        last = self._free.pop()
        if last is not worker:
            self._free[worker.place] = last
            last.place = worker.place
        worker.place = -1

    def _run(self, worker: Worker, job: Job) -> None:
        now = self._engine.now
        worker.jobs[job] = now
        worker.started += 1
        self._queue.running += 1
        if job.started_s is None:
            job.started_s = now
        if len(worker.jobs) == self._slots:
            self._leave(worker)
        self._engine.at(now + job.run_s, self._end, worker, job)

    def _end(self, worker: Worker, job: Job) -> None:
        if worker.jobs.pop(job, None) is None:
            return  # It was cut.
        worker.finished += 1
        worker.run_seconds += job.run_s
        self._queue.running -= 1
        if worker.pod.terminating:
            if not worker.jobs:
                self._exit(worker)
        elif not worker.retiring:
            self._take(worker)

    def _exit(self, worker: Worker) -> None:
        del self.workers[worker.pod.name]
        self._exited(worker.pod)
