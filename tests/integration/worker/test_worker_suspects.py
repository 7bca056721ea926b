"""Suspects, jobs whose last two tries were lost with their workers: leased alone, and one a worker at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import pytest
from arq.connections import ArqRedis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from arqube_local.redis_server import RedisServer
from arqube_queue import job_tries, keys, turns
from arqube_queue.turns import Lease, Turn, Turns
from arqube_worker.turning import SUSPECT_S
from builders.turns import DEATH, NOW, QUEUE, worker

LOST = '[{number},"pod",1]'
RETRIED = job_tries.ended_try(1, '"pod"', 1, 2, "retried")
RETURNED = job_tries.ended_try(1, '"pod"', 1, 2, "returned")
LIKE_LOST = job_tries.ended_try(1, '"pod"', 1, 2, "retried", "7]\n[1,7]")
MAX_TRIES = 5


async def take(us: Turns, limit: int = 10, **options: Any) -> tuple[list[str], bool]:
    """The ids of what a turn leases, and whether it is a suspect."""
    turn = await us.take((), now_ms=NOW, limit=limit, **options)
    return [lease.job_id for lease in turn.leases], turn.suspect


async def queue(redis: Redis, *job_ids: str, tries: str = "") -> None:
    """Due jobs, in the order of their ids, with the lines of their tries."""
    for job_id in job_ids:
        await redis.zadd(QUEUE, {job_id: NOW - 1})
        if tries:
            await redis.set(keys.RETRY_PREFIX + job_id, tries.count("\n") + 1)
            await redis.hset(keys.open_jobs(QUEUE), job_id, tries)  # type: ignore[misc]


def lost(count: int) -> str:
    return "\n".join(LOST.format(number=number + 1) for number in range(count))


@pytest.mark.parametrize(
    ("tries", "suspect"),
    [
        pytest.param("", False, id="a job that was never tried"),
        pytest.param(lost(1), False, id="one try that was lost"),
        pytest.param(lost(2), True, id="two that were lost"),
        pytest.param(lost(5), True, id="five that were lost"),
        pytest.param(f"{RETRIED}\n{lost(2)}", True, id="two that were lost after one that was not"),
        pytest.param(f"{lost(2)}\n{RETRIED}", False, id="one that ended after two that were lost"),
        pytest.param(f"{lost(1)}\n{RETRIED}\n{lost(1)}", False, id="two that were lost with one in between"),
        pytest.param(f"{lost(2)}\n{RETURNED}", False, id="one that was given back after two that were lost"),
        pytest.param(f"{RETRIED}\n{RETRIED}\n{RETRIED}", False, id="three that were retried"),
        pytest.param(f"{LIKE_LOST}\n{LIKE_LOST}", False, id="errors that look like the lines of lost tries"),
        pytest.param(lost(2).replace("pod", '\\"]\\n[1,7]'), True, id="a worker whose name looks like a line"),
        pytest.param("\x00]\n\xff", False, id="what are no lines"),
    ],
)
async def test_what_makes_a_job_a_suspect(redis: Redis, tries: str, suspect: bool) -> None:
    await queue(redis, "a", tries=tries)
    await queue(redis, "b", "c")
    assert await take(worker(redis)) == ((["a"], True) if suspect else (["a", "b", "c"], False))


async def test_tries_that_cannot_be_read_make_no_suspect(redis: Redis) -> None:
    await queue(redis, "a", tries=lost(3))
    await redis.delete(keys.open_jobs(QUEUE))
    await redis.set(keys.open_jobs(QUEUE), "a stray write")
    assert await take(worker(redis)) == (["a"], False)


async def test_a_suspect_has_a_turn_of_its_own_in_its_order(redis: Redis) -> None:
    await queue(redis, "a", "c", "e")
    await queue(redis, "b", "d", tries=lost(2))
    us = worker(redis)
    turns_taken = [await us.take((), now_ms=NOW, limit=10) for _ in range(5)]
    leased = [[lease.job_id for lease in turn.leases] for turn in turns_taken]
    assert leased == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert [turn.suspect for turn in turns_taken] == [False, True, False, True, False]
    assert [turn.more for turn in turns_taken] == [True, True, True, True, False]
    assert (turns_taken[1].leases[0].tries, turns_taken[1].leases[0].former) == (3, lost(2).encode())


async def test_a_suspect_that_is_passed_by_is_as_it_was_and_anothers(redis: Redis) -> None:
    await queue(redis, "a", "c", tries=lost(2))
    await queue(redis, "b", "d")
    us = worker(redis)
    turn = await us.take((), now_ms=NOW, limit=10, suspects=False)
    assert ([lease.job_id for lease in turn.leases], turn.suspect) == (["b", "d"], False)
    assert (turn.more, turn.running) == (False, 0)
    assert await redis.get(keys.RETRY_PREFIX + "a") == b"2"
    assert await redis.hget(keys.open_jobs(QUEUE), "a") == lost(2).encode()  # type: ignore[misc]
    assert await redis.exists(keys.IN_PROGRESS_PREFIX + "a") == 0
    assert await take(worker(redis, "they")) == (["a"], True)


async def test_jobs_whose_workers_were_lost_once_come_back_all_at_once(redis: Redis) -> None:
    names = [f"{number:04}" for number in range(1000)]
    await queue(redis, *names, tries=lost(1))
    assert await take(worker(redis), limit=1000) == (names, False)


@pytest.mark.parametrize("suspects", [pytest.param(250, id="few"), pytest.param(1500, id="more than a turn looks at")])
async def test_however_many_suspects_wait_at_the_head_the_jobs_behind_them_are_found(
    redis: Redis, suspects: int
) -> None:
    await queue(redis, *(f"a{number:04}" for number in range(suspects)), tries=lost(2))
    await queue(redis, *(f"b{number}" for number in range(6)))
    us = worker(redis)
    (held,) = (await us.take((), now_ms=NOW, limit=10)).leases
    found: list[str] = []
    ends: list[turns.End] = []
    for _ in range(4 + suspects // 1000):
        turn = await us.take(ends, now_ms=NOW, limit=2, suspects=False)
        found += [lease.job_id for lease in turn.leases]
        ends = [turns.finish(lease, None) for lease in turn.leases]
    assert found == [f"b{number}" for number in range(6)]
    await us.take([turns.finish(held, None)], now_ms=NOW, limit=0)
    us.look_from_the_head()
    assert await take(us) == (["a0001"], True)


async def take_unanswered(us: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    real = turns._TURN

    async def unanswered(*arguments: Any) -> None:
        await real(*arguments)
        raise RedisConnectionError("the answer got lost")

    with monkeypatch.context() as patch:
        patch.setattr(turns, "_TURN", unanswered)
        with pytest.raises(RedisConnectionError):
            await us.take((), now_ms=NOW, limit=10)


async def test_a_suspect_whose_turn_had_no_answer_is_leased_once_more_and_alone(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue(redis, "a", tries=lost(2))
    us = worker(redis)
    await take_unanswered(us, monkeypatch)
    await queue(redis, "b", "c")
    turn = await us.take((), now_ms=NOW, limit=10)
    assert ([lease.job_id for lease in turn.leases], turn.suspect, turn.more) == (["a"], True, True)
    assert (turn.leases[0].tries, turn.leases[0].former) == (3, lost(2).encode())


async def test_jobs_whose_turn_had_no_answer_come_before_a_suspect(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue(redis, "b", "c")
    us = worker(redis)
    await take_unanswered(us, monkeypatch)
    await queue(redis, "a", tries=lost(2))
    assert await take(us) == (["b", "c"], False)
    assert await take(us) == (["a"], True)


async def test_a_worker_begins_a_suspect_when_the_one_before_has_run_for_a_while_or_is_over(
    start_worker: Any, arq_client: ArqRedis, redis: Redis, eventually: Any
) -> None:
    held = [await arq_client.enqueue_job("hold_until", "go", _job_id=job_id) for job_id in "ab"]
    brief = [await arq_client.enqueue_job("nap", 0, _job_id=job_id) for job_id in "cde"]
    suspects = list("abcde")
    await queue(redis, *suspects, tries=lost(2))
    others = [await arq_client.enqueue_job("hold_until", "go") for _ in range(4)]

    async def started(count: int) -> bool:
        return bool(await redis.llen("started") >= count)  # type: ignore[misc]

    running = start_worker()
    await eventually(lambda: started(6), within_s=60)
    await redis.set("go", 1)
    results = [await job.result(timeout=60, poll_delay=0.02) for job in (*held, *brief, *others) if job]
    assert results == [3, 3, 3, 3, 3, 1, 1, 1, 1]

    begun = {line["job_id"]: datetime.fromisoformat(line["timestamp"]) for line in running.logged("job started")}
    first, second, *rest = (begun[job_id] for job_id in suspects)
    assert all(begun[job.job_id] < second for job in others if job), "they need not wait for it"
    assert (second - first).total_seconds() > SUSPECT_S / 2, "each start is told a moment after its job was leased"
    assert (rest[-1] - rest[0]).total_seconds() < SUSPECT_S
    told = running.logged("the last two workers that took this job were lost")
    assert [(line["job_id"], line["tries"]) for line in told] == [(job_id, 3) for job_id in suspects]


# -- a fleet and a job that ends its workers, at times of the tests' own --


@dataclass
class Fleet:
    """Workers that take turns one after the other. A job is good, or ends the worker that reads, begins or runs it."""

    redis: Redis
    slots: int
    kinds: dict[str, str]
    runs: dict[int, list[tuple[Lease, bool]]] = field(default_factory=dict)
    turns: dict[int, Turns] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    buried: set[str] = field(default_factory=set)
    incarnations: int = 0

    async def start(self, number: int) -> None:
        for lease, _ in self.runs.get(number, ()):
            await self.redis.delete(keys.IN_PROGRESS_PREFIX + lease.job_id)
        self.incarnations += 1
        self.turns[number], self.runs[number] = worker(self.redis, f"{number}-{self.incarnations}"), []

    async def turn(self, number: int) -> None:
        """One turn of a worker: ends what ran in the last, begins what it leases; it may end over that."""
        runs = self.runs[number]
        if killer := next((lease.job_id for lease, _ in runs if self.kinds[lease.job_id] == "runs"), None):
            await self.die(number, killer)
            return
        ends = [turns.finish(lease, None) for lease, _ in runs[: self.slots // 2]]
        self.tries.update({lease.job_id: lease.tries for lease, _ in runs[: len(ends)]})
        runs = self.runs[number] = runs[len(ends) :]
        taken = await self.take(number, ends)
        runs += [(lease, taken.suspect) for lease in taken.leases]
        assert sum(suspect for _, suspect in runs) <= 1
        for lease, _ in list(runs):
            kind = self.kinds[lease.job_id]
            if lease.tries > MAX_TRIES + (kind == "reads"):
                runs.remove((lease, taken.suspect))
                self.buried.add(lease.job_id)
                await self.turns[number].take([turns.bury(lease, None, DEATH)], now_ms=NOW, limit=0)
            elif kind in ("reads", "begins"):
                await self.die(number, lease.job_id)
                return

    async def take(self, number: int, ends: list[turns.End]) -> Turn:
        runs = self.runs[number]
        limit, suspects = self.slots - len(runs), not any(suspect for _, suspect in runs)
        return await self.turns[number].take(ends, now_ms=NOW, limit=limit, suspects=suspects)

    async def die(self, number: int, killer: str) -> None:
        self.deaths[killer] = self.deaths.get(killer, 0) + 1
        await self.start(number)

    async def work(self, workers: int, chance: Random) -> None:
        """Until no job is left."""
        for number in range(workers):
            await self.start(number)
        while await self.redis.zcard(QUEUE):
            await self.turn(chance.randrange(workers))


@settings(max_examples=60)
@given(
    jobs=st.integers(2, 40),
    place=st.integers(0, 39),
    kind=st.sampled_from(["reads", "begins", "runs"]),
    slots=st.integers(2, 24),
    workers=st.integers(1, 3),
    chance=st.integers(0, 1000).map(Random),
)
def test_a_job_that_ends_its_workers_costs_others_two_tries_at_most(
    redis_server: RedisServer, jobs: int, place: int, kind: str, slots: int, workers: int, chance: Random
) -> None:
    bad = f"{place % jobs:02}"

    async def run() -> None:
        async with redis_server.address.connect() as redis:
            await redis.flushall()
            names = [f"{number:02}" for number in range(jobs)]
            await queue(redis, *names)
            fleet = Fleet(redis, slots, {name: kind if name == bad else "good" for name in names})
            await fleet.work(workers, chance)
        assert fleet.buried == {bad}
        assert fleet.deaths == {bad: MAX_TRIES + (kind == "reads")}
        assert set(fleet.tries) == set(names) - {bad}
        assert max(fleet.tries.values()) <= 3

    asyncio.run(run())
