"""The claim and hand-back scripts: a table, and a model with plain arq workers' claims mixed in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import claims
from arqube_queue.claims import Claim, ClaimedJob
from arqube_queue.keys import IN_PROGRESS_PREFIX, RETRY_PREFIX

QUEUE = "arq:queue"
NOW = 1_700_000_000_000


async def claim(redis: Redis, claimant: str = "us:1", *, limit: int = 10, now_ms: int = NOW) -> Claim:
    return await claims.claim(redis, QUEUE, token=claimant, now_ms=now_ms, lease_ms=310_000, limit=limit)


def ids(found: Claim) -> list[str]:
    return [job.job_id for job in found.jobs]


async def test_a_claim_takes_due_jobs_in_order_and_tells_the_next_due_time(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"late": NOW - 1, "early": NOW - 500, "next": NOW + 700, "far": NOW + 9000})
    await redis.set(RETRY_PREFIX + "late", 2)
    found = await claim(redis)
    assert found.jobs == (ClaimedJob("early", NOW - 500, 0, "us:1"), ClaimedJob("late", NOW - 1, 2, "us:1"))
    assert found.next_due_ms == NOW + 700
    assert await redis.get(IN_PROGRESS_PREFIX + "early") == b"us:1"
    assert 300_000 < await redis.pttl(IN_PROGRESS_PREFIX + "early") <= 310_000
    assert await redis.zcard(QUEUE) == 4, "members stay until a job is finished"


async def test_a_claim_pages_past_running_members(redis: Redis) -> None:
    members = {f"{number:04}": NOW - 1000 + number for number in range(250)}
    await redis.zadd(QUEUE, members)
    free = ["0099", "0100", "0200", "0201", "0249"]  # about the pages' borders
    await redis.mset({IN_PROGRESS_PREFIX + member: "1" for member in members.keys() - set(free)})
    assert ids(await claim(redis, limit=50)) == free


@pytest.mark.parametrize(
    ("queue", "limit", "expected"),
    [
        pytest.param({}, 5, [], id="an empty queue gives nothing"),
        pytest.param({"a": NOW, "b": NOW + 1}, 5, ["a"], id="a job due this very millisecond is due"),
        pytest.param({"a": 1, "b": NOW}, 1, ["a"], id="a job moved to the front to be aborted comes first"),
        pytest.param({"a": NOW, "b": NOW}, 0, [], id="no free slot takes nothing"),
        pytest.param({"a": NOW - 3, "b": NOW - 2, "c": NOW - 1}, 2, ["a", "b"], id="no more than the free slots"),
    ],
)
async def test_what_a_claim_takes(redis: Redis, queue: dict[str, int], limit: int, expected: list[str]) -> None:
    if queue:
        await redis.zadd(QUEUE, queue)
    assert ids(await claim(redis, limit=limit)) == expected


async def test_a_claim_whose_answer_got_lost_can_be_repeated(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"a": NOW - 2, "b": NOW - 1})
    lost = await claim(redis, "us:1", limit=1)
    assert ids(lost) == ["a"]
    assert ids(await claim(redis, "us:1", limit=2)) == ["a", "b"]
    assert ids(await claim(redis, "us:2", limit=2)) == []


async def test_a_hand_back_restores_what_the_claim_found(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"fresh": NOW - 2, "tried": NOW - 1})
    await redis.set(RETRY_PREFIX + "tried", 3)
    fresh, tried = (await claim(redis)).jobs
    for job in (fresh, tried):
        await redis.incr(RETRY_PREFIX + job.job_id)  # as arq does when it starts it
        assert await claims.hand_back(redis, job)
        assert not await claims.hand_back(redis, job), "repeating it changes nothing"
    assert await redis.get(RETRY_PREFIX + "fresh") is None
    assert await redis.get(RETRY_PREFIX + "tried") == b"3"
    assert 0 < await redis.ttl(RETRY_PREFIX + "tried") <= claims.RETRY_LIFE_S
    assert ids(await claim(redis, "us:2")) == ["fresh", "tried"]


async def test_a_job_that_another_worker_leased_meanwhile_is_not_given_back(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"a": NOW})
    (ours,) = (await claim(redis)).jobs
    await redis.set(IN_PROGRESS_PREFIX + "a", "1")  # our lease ended, and a plain arq worker took it
    await redis.set(RETRY_PREFIX + "a", 2)
    assert not await claims.hand_back(redis, ours)
    assert await redis.get(IN_PROGRESS_PREFIX + "a") == b"1"
    assert await redis.get(RETRY_PREFIX + "a") == b"2"


JOBS = st.sampled_from([f"job{number}" for number in range(7)])


class ClaimModel(RuleBasedStateMachine):
    """Queue, leases and tries as plain dicts beside the real Redis; every step must leave both alike."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = self.server.address.connect()
        self.now = NOW
        self.queue: dict[str, int] = {}
        self.leases: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.held: list[ClaimedJob] = []
        self.claim_number = 0

    def do(self, awaitable: Any) -> Any:
        return self.runner.run(self._await(awaitable))

    async def _await(self, awaitable: Any) -> Any:
        return await awaitable

    @initialize(jobs=st.sets(JOBS, min_size=3))
    def begin(self, jobs: set[str]) -> None:
        self.do(self.redis.flushall())
        for job in sorted(jobs):
            self.enqueue(job, 0)

    @rule(job=JOBS, delay=st.integers(-3, 5))
    def enqueue(self, job: str, delay: int) -> None:
        if job not in self.queue:
            self.queue[job] = self.now + delay
            self.do(self.redis.zadd(QUEUE, {job: self.now + delay}))

    @rule(milliseconds=st.integers(1, 4))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule(limit=st.integers(0, 4), again=st.booleans())
    def claim(self, limit: int, again: bool) -> None:
        if not again:
            self.claim_number += 1
        token = f"us:{self.claim_number}"
        due = sorted((score, job) for job, score in self.queue.items() if score <= self.now)
        free = [job for _, job in due if self.leases.get(job, token) == token][:limit]
        later = [score for score in self.queue.values() if score > self.now]
        found = self.do(claim(self.redis, token, limit=limit, now_ms=self.now))
        assert ids(found) == free
        assert [job.tries for job in found.jobs] == [self.tries.get(job, 0) for job in free]
        assert found.next_due_ms == min(later, default=None)
        self.leases.update(dict.fromkeys(free, token))
        self.held += found.jobs

    @rule(job=JOBS)
    def plain_arq_takes_and_starts(self, job: str) -> None:
        """arq's start_jobs and the head of its run_job."""
        if job in self.queue and self.queue[job] <= self.now and job not in self.leases:
            self.leases[job] = "1"
            self.do(self.redis.set(IN_PROGRESS_PREFIX + job, "1"))
            self._count_try(job)

    @rule(number=st.integers(0, 20))
    def start(self, number: int) -> None:
        if self.held:
            job = self.held[number % len(self.held)]
            if self.leases.get(job.job_id) == job.token:
                self._count_try(job.job_id)

    def _count_try(self, job: str) -> None:
        self.tries[job] = self.tries.get(job, 0) + 1
        self.do(self.redis.incr(RETRY_PREFIX + job))

    @rule(number=st.integers(0, 20))
    def hand_back(self, number: int) -> None:
        """Of any job held at some time: old claims must not touch what has changed hands since."""
        if not self.held:
            return
        job = self.held[number % len(self.held)]
        ours = self.leases.get(job.job_id) == job.token
        assert self.do(claims.hand_back(self.redis, job)) is ours
        if ours:
            del self.leases[job.job_id]
            self.tries.pop(job.job_id, None)
            if job.tries:
                self.tries[job.job_id] = job.tries

    @rule(job=JOBS)
    def lease_ends(self, job: str) -> None:
        if self.leases.pop(job, None):
            self.do(self.redis.delete(IN_PROGRESS_PREFIX + job))

    @rule(job=JOBS)
    def somebody_finishes(self, job: str) -> None:
        if job in self.leases:
            del self.leases[job], self.queue[job]
            self.tries.pop(job, None)
            self.do(self.redis.delete(IN_PROGRESS_PREFIX + job, RETRY_PREFIX + job))
            self.do(self.redis.zrem(QUEUE, job))

    @invariant()
    def redis_agrees(self) -> None:
        names = [f"job{number}" for number in range(7)]
        leases = self.do(self.redis.mget([IN_PROGRESS_PREFIX + name for name in names]))
        tries = self.do(self.redis.mget([RETRY_PREFIX + name for name in names]))
        members = self.do(self.redis.zrange(QUEUE, 0, -1, withscores=True))
        assert {name: lease.decode() for name, lease in zip(names, leases, strict=True) if lease} == self.leases
        assert {name: int(count) for name, count in zip(names, tries, strict=True) if count} == self.tries
        assert {member.decode(): int(score) for member, score in members} == self.queue

    def teardown(self) -> None:
        self.do(self.redis.aclose())
        self.runner.close()


def test_claims_keep_the_protocol_whatever_happens(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PAGE", 2)  # so that a handful of jobs fills several pages
    ClaimModel.server = redis_server
    run_state_machine_as_test(
        ClaimModel,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
