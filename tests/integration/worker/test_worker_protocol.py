"""The protocol as a model of plain dicts beside a real Redis: our workers, plain arq's, clients, and accidents.

Two workers of ours lease, end, lose, renew and crash in any order; answers get lost; plain arq takes and finishes in
between, by the commands of arq 0.28. After each step both sides hold the same, and no job ended twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis as SyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from arqube_local.redis_server import RedisServer
from arqube_queue import keys, leases, turns
from arqube_queue.keys import IN_PROGRESS_PREFIX, JOB_PREFIX, RESULT_PREFIX, RETRY_PREFIX
from arqube_queue.turns import Death, Lease, Policy, Turns

QUEUE = "arq:queue"
NOW = 1_700_000_000_000
NAMES = [f"job{number}" for number in range(6)]
JOBS = st.sampled_from(NAMES)
WORKERS = st.sampled_from(["first", "second"])
ENDS = st.sampled_from(["finish", "bury", "retry", "again", "give back", "put back", "lease again"])
DEATH = Death("failed", "work", "ValueError", "", 1, 0)
PLAIN = "1"


@dataclass
class Ours:
    """A worker of ours: what it holds, and the ends of a turn whose answer got lost."""

    turns: Turns
    number: int = 0
    token: str = ""
    held: list[Lease] = field(default_factory=list)
    pending: list[tuple[str, Lease, int]] = field(default_factory=list)


class Protocol(RuleBasedStateMachine):
    """Jobs by id, as Redis should hold them."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.redis = self.server.address.connect()
        self.sync = SyncRedis(host=self.server.address.host, port=self.server.address.port)
        self.now = NOW
        self.incarnations = 0
        self.queue: dict[str, int] = {}
        self.payloads: set[str] = set()
        self.holders: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.aborts: set[str] = set()
        self.results: set[str] = set()
        self.dead: set[str] = set()
        self.workers: dict[str, Ours] = {}

    @initialize(jobs=st.sets(JOBS, min_size=3))
    def begin(self, jobs: set[str]) -> None:
        self.sync.flushall()
        for name in ("first", "second"):
            self.start(name)
        for job in sorted(jobs):
            self.enqueue(job, 0)

    def start(self, name: str) -> None:
        self.incarnations += 1
        token = f"{name}-{self.incarnations}"
        mine = Turns(self.redis, QUEUE, worker=name, token=token, policy=Policy())
        self.workers[name] = Ours(mine, token=token)

    # -- clients --

    @rule(job=JOBS, delay=st.integers(-3, 5))
    def enqueue(self, job: str, delay: int) -> None:
        """``enqueue_job`` refuses while there is a payload or a result."""
        if job in self.payloads or job in self.results:
            return
        self.payloads.add(job)
        self.queue[job] = self.now + delay
        self.sync.psetex(JOB_PREFIX + job, 86_400_000, b"payload")
        self.sync.zadd(QUEUE, {job: self.now + delay})

    @rule(job=JOBS)
    def forget_result(self, job: str) -> None:
        self.results.discard(job)
        self.sync.delete(RESULT_PREFIX + job)

    @rule(job=JOBS)
    def abort(self, job: str) -> None:
        """``Job.abort``."""
        if self.queue.get(job, 0) > self.now:
            self.queue[job] = 1
            self.sync.zadd(QUEUE, {job: 1})
        self.aborts.add(job)
        self.sync.zadd(keys.ABORT, {job: self.now})

    @rule(milliseconds=st.integers(1, 2000))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    # -- plain arq's workers --

    @rule(job=JOBS)
    def plain_takes(self, job: str) -> None:
        """``start_jobs`` and the head of ``run_job``."""
        if self.queue.get(job, self.now + 1) <= self.now and job not in self.holders:
            self.holders[job] = PLAIN
            self.tries[job] = self.tries.get(job, 0) + 1
            self.sync.psetex(IN_PROGRESS_PREFIX + job, 310_000, b"1")
            self.sync.incr(RETRY_PREFIX + job)

    @rule(job=JOBS, final=st.booleans())
    def plain_ends(self, job: str, final: bool) -> None:
        """``finish_job``: it asks nobody whether the job is still its own, so here it always is."""
        if self.holders.get(job) != PLAIN:
            return
        if final:
            self.remove(job)
            self.results.add(job)
            self.sync.delete(IN_PROGRESS_PREFIX + job, RETRY_PREFIX + job, JOB_PREFIX + job)
            self.sync.zrem(QUEUE, job)
            self.sync.zrem(keys.ABORT, job)
            self.sync.psetex(RESULT_PREFIX + job, 3_600_000, b"result")
        else:
            del self.holders[job]
            self.sync.delete(IN_PROGRESS_PREFIX + job)

    def remove(self, job: str) -> None:
        for kept in (self.queue, self.holders, self.tries):
            kept.pop(job, None)
        self.payloads.discard(job)
        self.aborts.discard(job)

    # -- accidents --

    @rule(job=JOBS)
    def lease_ends(self, job: str) -> None:
        self.holders.pop(job, None)
        self.sync.delete(IN_PROGRESS_PREFIX + job)

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
    )
    def turn(self, name: str, limit: int, choices: list[tuple[str, int, int]], lost: bool, head: bool) -> None:
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
        result = self.take(ours, limit, running, lost)
        statuses = [self.end(*one) for one in ours.pending]
        self.adopt_put_backs(ours)
        token = f"{ours.token}:{ours.number}"
        leased = self.lease(ours, token, limit, result)
        if result is None:
            return
        assert result.ended == statuses
        assert result.buried == [ok and one[0] == "bury" for ok, one in zip(statuses, ours.pending, strict=True)]
        assert result.to_abort == [job for job in running if job in self.aborts]
        for lease in result.leases:
            job = lease.job_id
            assert (lease.tries, lease.aborted) == (self.tries[job], job in self.aborts)
            assert (lease.payload is not None) is (job in self.payloads)
            assert lease.score == self.queue[job]
        ours.pending.clear()
        ours.held += result.leases
        ours.number += bool(leased)

    def take(self, ours: Ours, limit: int, running: list[str], lost: bool) -> turns.Turn | None:
        """One turn; None when its answer got lost on the way."""
        real = turns._TURN

        async def broken(*arguments: Any) -> Any:
            await real(*arguments)
            raise RedisConnectionError("the answer got lost")

        with pytest.MonkeyPatch.context() as patch:
            if lost:
                patch.setattr(turns, "_TURN", broken)
            ends = [make(end, lease, due) for end, lease, due in ours.pending]
            try:
                return self.loop.run_until_complete(
                    ours.turns.take(ends, now_ms=self.now, limit=limit, running=running)
                )
            except RedisConnectionError:
                return None

    def end(self, end: str, lease: Lease, due: int) -> bool:
        """What the script should make of one end."""
        job = lease.job_id
        holder = self.holders.get(job)
        mine = holder == lease.token
        if holder is None:
            mine = self.tries.get(job) == lease.tries and self.queue.get(job) == lease.score
        if not mine:
            return False
        if end in ("finish", "bury"):
            self.remove(job)
            self.results.add(job)
            self.dead |= {job} if end == "bury" else set()
        elif end == "lease again":
            self.holders[job] = lease.token
        else:
            self.holders.pop(job, None)
            if end == "retry":
                self.queue[job] = due
            elif end == "put back":
                self.queue[job] = -1
            if end in ("give back", "put back"):
                self.tries[job] = lease.tries - 1
                if not self.tries[job]:
                    del self.tries[job]
        return True

    def adopt_put_backs(self, ours: Ours) -> None:
        """How long a job is put back depends on Redis's clock."""
        for job in [job for job, due in self.queue.items() if due == -1]:
            due = self.sync.zscore(QUEUE, job)
            assert isinstance(due, float)
            assert self.now + 1000 <= due <= self.now + 10_000
            self.queue[job] = int(due)

    def lease(self, ours: Ours, token: str, limit: int, result: turns.Turn | None) -> list[str]:
        """Which jobs a turn has leased: free ones in order, from wherever its search began."""
        due = [job for score, job in sorted((score, job) for job, score in self.queue.items()) if score <= self.now]
        free = [job for job in due if self.holders.get(job, token) == token]
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
                assert found == free[begun : begun + limit], "none in between is passed by"
        for job in found:
            if self.holders.get(job) != token:
                self.holders[job] = token
                self.tries[job] = self.tries.get(job, 0) + 1
        return found

    @rule(name=WORKERS)
    def renew(self, name: str) -> None:
        held = self.workers[name].held
        states = leases.renew(self.sync, held, lease_ms=15_000)
        holders = [self.holders.get(lease.job_id) for lease in held]
        expected = [
            1 if holder == lease.token else 0 if holder is None else -1
            for lease, holder in zip(held, holders, strict=True)
        ]
        assert states == expected

    # -- what must hold --

    @invariant()
    def redis_agrees(self) -> None:
        found: dict[str, Any] = {}
        prefixes = {
            "holders": IN_PROGRESS_PREFIX,
            "tries": RETRY_PREFIX,
            "payloads": JOB_PREFIX,
            "results": RESULT_PREFIX,
        }
        for what, prefix in prefixes.items():
            values: Any = self.sync.mget([prefix + name for name in NAMES])
            found[what] = {name: value.decode() for name, value in zip(NAMES, values, strict=True) if value is not None}
        members: Any = self.sync.zrange(QUEUE, 0, -1, withscores=True)
        aborts: Any = self.sync.zrange(keys.ABORT, 0, -1)
        dead: Any = self.sync.zrange(keys.dead_letters(QUEUE), 0, -1)
        assert found["holders"] == self.holders
        assert {name: int(count) for name, count in found["tries"].items()} == self.tries
        assert set(found["payloads"]) == self.payloads
        assert set(found["results"]) == self.results
        assert {member.decode(): int(score) for member, score in members} == self.queue
        assert {member.decode() for member in aborts} == self.aborts
        assert {member.decode() for member in dead} == self.dead

    @invariant()
    def every_job_is_queued_with_its_payload_or_over(self) -> None:
        assert set(self.queue) == self.payloads

    def teardown(self) -> None:
        self.loop.run_until_complete(self.redis.aclose())
        self.loop.close()
        self.sync.close()


def make(end: str, lease: Lease, due: int) -> turns.End:
    match end:
        case "finish":
            return turns.finish(lease, b"result", life_ms=3_600_000)
        case "bury":
            return turns.bury(lease, b"result", DEATH, life_ms=3_600_000)
        case "retry":
            return turns.requeue(lease, due_ms=due)
        case "again":
            return turns.requeue(lease)
        case "give back":
            return turns.give_back(lease)
        case "put back":
            return turns.put_back(lease, b"result", DEATH, life_ms=3_600_000)
    return turns.lease_again(lease)


@pytest.mark.timeout(240)
def test_the_protocol_holds_whatever_happens(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAGE", 2)  # so that a handful of jobs fills several pages
    Protocol.server = redis_server
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
