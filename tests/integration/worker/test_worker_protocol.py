"""The protocol as a model beside a real Redis: our workers, plain arq's, clients, and accidents.

Two workers of ours lease, end, lose, renew and crash in any order; answers get lost, payloads expire, dead letters are
put back. arq's own client enqueues and aborts, and its Worker takes and ends jobs in between, at the model's time.
After each step both sides hold the same, and no job ended twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import arq.connections
import arq.jobs
import arq.worker
import pytest
from arq.connections import ArqRedis
from arq.jobs import Job
from arq.worker import JobExecutionFailed, Retry, RetryJob
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis as SyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, heartbeat, keys, leases, open_jobs, turns
from arqube_queue.dead_letters import Outcome
from arqube_queue.keys import IN_PROGRESS_PREFIX, JOB_PREFIX, RESULT_PREFIX, RETRY_PREFIX
from arqube_queue.model import Heartbeat
from arqube_queue.turns import Lease, Policy, Turns
from builders.protocol_model import PUT_BACK, Model, read_model, told

QUEUE = "arq:queue"
NOW = 1_700_000_000_000
NAMES = [f"job{number}" for number in range(6)]
JOBS = st.sampled_from(NAMES)
WORKERS = st.sampled_from(["first", "second"])
ENDS = st.sampled_from(["finish", "bury", "retry", "again", "give back", "put back", "lease again"])
LOST = '[1,"gone",1]\n[2,"gone",1]'
PLAIN = "1"
DEFER_MS = 5
PLAIN_ENDS: dict[str, BaseException | None] = {
    "succeed": None,
    "fail": ValueError(),
    "retry": Retry(defer=DEFER_MS / 1000),
    "again": RetryJob(),
}


@dataclass
class Ours:
    """A worker of ours: what it holds, and the ends of a turn whose answer got lost."""

    turns: Turns
    patient: bool
    number: int = 0
    token: str = ""
    held: list[Lease] = field(default_factory=list)
    pending: list[tuple[str, Lease, int]] = field(default_factory=list)


class Protocol(RuleBasedStateMachine):
    """What happens to both sides, one step after the other."""

    server: RedisServer
    now = NOW

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.redis = self.server.address.connect()
        where = {"host": self.server.address.host, "port": self.server.address.port}
        self.sync = SyncRedis(**where)
        self.client = ArqRedis(**where)
        Protocol.now = NOW
        self.plain = self.loop.run_until_complete(self.start_plain())
        self.plain_runs: dict[str, asyncio.Future[None]] = {}
        self.plain_tasks: dict[str, asyncio.Task[None]] = {}
        self.plain_scores: dict[str, int] = {}  # when they were due
        self.incarnations = 0
        self.model = Model()
        self.known_elsewhere = False
        self.workers: dict[str, Ours] = {}

    @initialize(jobs=st.sets(JOBS, min_size=3), suspects=st.sets(JOBS))
    def begin(self, jobs: set[str], suspects: set[str]) -> None:
        self.sync.flushall()
        for name in ("first", "second"):
            self.start(name)
        for job in sorted(jobs):
            self.enqueue(job, 0)
        for job in jobs & suspects:
            self.sync.set(RETRY_PREFIX + job, 2)
            self.sync.hset(keys.open_jobs(QUEUE), job, LOST)
            self.model.tries[job], self.model.open[job] = 2, [False, False]

    def start(self, name: str) -> None:
        self.incarnations += 1
        token = f"{name}-{self.incarnations}"
        patient = name == "first"  # with jobs whose function it does not know
        policy = Policy() if patient else Policy(unknown_function_grace_s=0)
        mine = Turns(self.redis, QUEUE, worker=name, token=token, policy=policy)
        self.workers[name] = Ours(mine, patient, token=token)

    async def start_plain(self) -> arq.worker.Worker:
        async def work(ctx: dict[Any, Any]) -> None:
            self.plain_runs[ctx["job_id"]] = asyncio.get_running_loop().create_future()
            await self.plain_runs[ctx["job_id"]]

        return arq.worker.Worker(
            [arq.worker.func(work, name="work")],
            redis_pool=self.client,
            handle_signals=False,
            max_jobs=1000,
            max_tries=1000,
        )

    # -- clients --

    @rule(job=JOBS, delay=st.integers(-3, 5))
    def enqueue(self, job: str, delay: int) -> None:
        """arq's client refuses while there is a payload or a result."""
        given = self.loop.run_until_complete(
            self.client.enqueue_job("work", _job_id=job, _defer_by=timedelta(milliseconds=delay))
        )
        assert (given is None) is (job in self.model.payloads or job in self.model.results)
        if given is not None:
            self.model.payloads.add(job)
            self.model.queue[job] = self.now + delay

    @rule(job=JOBS)
    def forget_result(self, job: str) -> None:
        self.model.results.discard(job)
        self.sync.delete(RESULT_PREFIX + job)

    @rule(job=JOBS)
    def abort(self, job: str) -> None:
        async def ask() -> None:
            with contextlib.suppress(asyncio.TimeoutError, ValueError, JobExecutionFailed):  # what the job raised
                await Job(job, self.client).abort(timeout=0, poll_delay=0)

        self.loop.run_until_complete(ask())
        if self.model.queue.get(job, 0) > self.now and (job in self.model.payloads or job in self.model.results):
            self.model.queue[job] = 1
        self.model.aborts.add(job)

    @rule(milliseconds=st.integers(1, 2000))
    def wait(self, milliseconds: int) -> None:
        Protocol.now += milliseconds

    # -- people, and workers of a newer release --

    @rule(job=JOBS)
    def retry_dead(self, job: str) -> None:
        outcome = self.loop.run_until_complete(dead_letters.retry(self.redis, QUEUE, [job]))[job]
        assert outcome is self.model.retry_dead(job, self.now)
        if outcome is Outcome.RETRIED:
            self.sync.zadd(QUEUE, {job: self.now}, xx=True)  # It is due by Redis's clock, which is not the model's.

    @rule(job=JOBS)
    def purge_dead(self, job: str) -> None:
        purged = self.loop.run_until_complete(dead_letters.purge(self.redis, QUEUE, [job]))
        assert purged == (self.model.dead.pop(job, None) is not None)

    @rule(known=st.booleans())
    def deploy(self, known: bool) -> None:
        """A worker that knows the function comes or goes."""
        self.known_elsewhere = known
        beat = Heartbeat("newer", at_ms=0, busy=0, slots=1, draining=False, functions=("work",))
        change = heartbeat.write(self.redis, QUEUE, beat) if known else heartbeat.remove(self.redis, QUEUE, "newer")
        self.loop.run_until_complete(change)

    # -- plain arq's workers --

    @rule(job=JOBS)
    def plain_takes(self, job: str) -> None:
        """arq's ``start_jobs`` and its ``run_job`` as far as the app's code."""
        free = self.model.queue.get(job, self.now + 1) <= self.now and job not in self.model.holders
        self.loop.run_until_complete(self.plain.start_jobs([job.encode()]))
        task = self.plain.tasks.pop(job, None)
        assert (task is not None) is free
        if task is None:
            return
        if job in self.model.payloads:
            self.plain_tasks[job], self.plain_scores[job] = task, self.model.queue[job]
            self.model.holders[job] = PLAIN
            self.model.tries[job] = self.model.tries.get(job, 0) + 1
            self.loop.run_until_complete(self.plain_runs_it(job))
        else:
            self.loop.run_until_complete(task)
            self.model.finish(job)

    async def plain_runs_it(self, job: str) -> None:
        while job not in self.plain_runs and not self.plain_tasks[job].done():  # noqa: ASYNC110 - arq is on its way
            await asyncio.sleep(0)

    @rule(job=JOBS, end=st.sampled_from(sorted(PLAIN_ENDS)))
    def plain_ends(self, job: str, end: str) -> None:
        """arq's ``finish_job``: it asks nobody whether the job is still its own, so here it always is."""
        if self.model.holders.get(job) != PLAIN:
            return
        run, error = self.plain_runs.pop(job), PLAIN_ENDS[end]
        if error is None:
            run.set_result(None)
        else:
            run.set_exception(error)
        self.loop.run_until_complete(self.plain_tasks.pop(job))
        if end in ("retry", "again"):
            del self.model.holders[job]
            # arq adds to the due time, which a client may have changed meanwhile.
            self.model.queue[job] += DEFER_MS + self.now - self.plain_scores[job] if end == "retry" else 0
        else:
            self.model.finish(job)

    # -- accidents --

    @rule(job=JOBS)
    def lease_ends(self, job: str) -> None:
        """For plain arq, whose leases outlast its runs, this takes a crash."""
        if self.model.holders.pop(job, None) == PLAIN:
            del self.plain_runs[job]
            self.plain_tasks[f"{job} {len(self.plain_tasks)}"] = self.plain_tasks.pop(job)
        self.sync.delete(IN_PROGRESS_PREFIX + job)

    @rule(job=JOBS)
    def payload_expires(self, job: str) -> None:
        self.model.payloads.discard(job)
        self.sync.delete(JOB_PREFIX + job)

    @rule()
    def settle(self) -> None:
        """What plain arq's workers have ended is no longer open."""
        assert self.loop.run_until_complete(open_jobs.settle(self.redis, QUEUE)) == 0
        self.model.settle()

    @rule(name=WORKERS)
    def crash(self, name: str) -> None:
        self.start(name)

    # -- our workers --

    @rule(
        name=WORKERS,
        limit=st.integers(0, 4),
        choices=st.lists(st.tuples(ENDS, st.integers(0, 5), st.integers(1, 9)), max_size=3),
        lost=st.booleans(),
        head=st.booleans(),
        suspects=st.booleans(),
    )
    def turn(
        self, name: str, limit: int, choices: list[tuple[str, int, int]], lost: bool, head: bool, suspects: bool
    ) -> None:
        ours = self.workers[name]
        for end, index, delay in choices:
            if ours.held:
                lease = ours.held[index % len(ours.held)]
                ours.pending.append((end, lease, self.now + delay))
                if end != "lease again":
                    ours.held.remove(lease)
        if head:
            ours.turns.look_from_the_head()
        running = sorted({lease.job_id for lease in ours.held})
        wanted = suspects and not ours.turns.unanswered
        result = self.take(ours, limit, running, lost, suspects)
        known = ours.patient or self.known_elsewhere
        statuses = [self.model.end(*one, known=known) for one in ours.pending]
        self.adopt_put_backs(ours)
        token = f"{ours.token}:{ours.number}"
        leased = self.lease(token, limit, result, suspects=wanted)
        if result is None:
            return
        assert list(zip(result.ended, result.buried, strict=True)) == statuses
        assert result.to_abort == [job for job in running if job in self.model.aborts]
        for lease in result.leases:
            job = lease.job_id
            assert (lease.tries, lease.aborted) == (self.model.tries[job], job in self.model.aborts)
            assert (lease.payload is not None) is (job in self.model.payloads)
            assert lease.score == self.model.queue[job]
        ours.pending.clear()
        ours.held += result.leases
        ours.number += bool(leased)

    def take(self, ours: Ours, limit: int, running: list[str], lost: bool, suspects: bool) -> turns.Turn | None:
        """One turn; None when its answer got lost on the way."""
        real = turns._TURN

        async def broken(*arguments: Any) -> Any:
            await real(*arguments)
            raise RedisConnectionError("the answer got lost")

        with pytest.MonkeyPatch.context() as patch:
            if lost:
                patch.setattr(turns, "_TURN", broken)
            ends = [told(*one) for one in ours.pending]
            try:
                return self.loop.run_until_complete(
                    ours.turns.take(ends, now_ms=self.now, limit=limit, running=running, suspects=suspects)
                )
            except RedisConnectionError:
                return None

    def adopt_put_backs(self, ours: Ours) -> None:
        """How long a job is put back depends on Redis's clock."""
        for job in [job for job, due in self.model.queue.items() if due == PUT_BACK]:
            due = self.sync.zscore(QUEUE, job)
            assert isinstance(due, float)
            assert self.now + 1000 <= due <= self.now + 10_000
            self.model.queue[job] = int(due)

    def lease(self, token: str, limit: int, result: turns.Turn | None, *, suspects: bool) -> list[str]:
        """Which jobs a turn has leased: free ones in order, from wherever its search began."""
        free = self.model.free(self.now, token)
        if result is not None:
            found = [lease.job_id for lease in result.leases]
        else:
            holders = self.sync.mget([IN_PROGRESS_PREFIX + job for job in free]) if free else []
            found = [job for job, holder in zip(free, holders, strict=True) if holder == token.encode()]
        if limit == 0:
            assert result is None or found == []
            found = [] if result is not None else found
        else:
            assert set(found) <= set(free)
            assert found == [job for job in free if job in found], "earliest first"
            if result is not None:
                assert len(found) <= limit
                begun = free.index(found[0]) if found else len(free)
                expected = self.model.chosen(free[begun:], token, limit, suspects=suspects)
                assert found == expected, "none in between is passed by, but for suspects"
                assert result.suspect is any(self.model.is_suspect(job, token) for job in found)
        self.model.lease(found, token)
        return found

    @rule(name=WORKERS)
    def renew(self, name: str) -> None:
        held = self.workers[name].held
        states = leases.renew(self.sync, held, lease_ms=15_000)
        holders = [self.model.holders.get(lease.job_id) for lease in held]
        expected = [
            1 if holder == lease.token else 0 if holder is None else -1
            for lease, holder in zip(held, holders, strict=True)
        ]
        assert states == expected

    # -- what must hold --

    @invariant()
    def redis_agrees(self) -> None:
        assert read_model(self.sync, QUEUE, NAMES) == self.model

    @invariant()
    def every_record_is_found_by_its_end(self) -> None:
        ends: Any = self.sync.zrange(keys.job_ends(QUEUE), 0, -1)
        assert {job.decode() for job in ends} == self.model.recorded

    @invariant()
    def every_payload_is_queued(self) -> None:
        assert self.model.payloads <= set(self.model.queue)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.leave())
        self.loop.close()
        self.sync.close()

    async def leave(self) -> None:
        for task in self.plain_tasks.values():
            task.cancel()
        await asyncio.gather(*self.plain_tasks.values(), return_exceptions=True)
        await self.redis.aclose()
        await self.client.aclose(close_connection_pool=True)


@pytest.mark.timeout(400)
def test_the_protocol_holds_whatever_happens(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAGE", 2)  # so that a handful of jobs fills several pages
    for module in (arq.connections, arq.jobs, arq.worker):
        monkeypatch.setattr(module, "timestamp_ms", lambda: Protocol.now)
    Protocol.server = redis_server
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
