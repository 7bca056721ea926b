"""The script of a turn, case by case: what it leases, what it refuses, and how it finds free jobs among many."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from arqube_queue import keys, turns
from arqube_queue.keys import IN_PROGRESS_PREFIX, JOB_PREFIX, RESULT_PREFIX, RETRY_PREFIX
from arqube_queue.turns import Lease, Turn, Turns
from builders.turns import DEATH, NOW, QUEUE, lease_one, take, traces, worker


def ids(turn: Turn) -> list[str]:
    return [lease.job_id for lease in turn.leases]


async def test_a_turn_leases_due_jobs_in_order_and_tells_the_next_due_time(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"late": NOW - 1, "early": NOW - 500, "next": NOW + 700, "far": NOW + 9000})
    await redis.set(RETRY_PREFIX + "late", 2)
    await redis.set(JOB_PREFIX + "late", b"payload")
    turn = await take(worker(redis), limit=10)
    assert turn.leases == [
        Lease("early", str(NOW - 500).encode(), 1, "us:0", None, False),
        Lease("late", str(NOW - 1).encode(), 3, "us:0", b"payload", False),
    ]
    assert turn.next_due_ms == NOW + 700
    assert await redis.get(IN_PROGRESS_PREFIX + "early") == b"us:0"
    assert 14_000 < await redis.pttl(IN_PROGRESS_PREFIX + "early") <= 15_000
    for job_id in ("early", "late"):
        assert 0 < await redis.ttl(RETRY_PREFIX + job_id) <= turns.RETRY_LIFE_S
    assert await redis.zcard(QUEUE) == 4, "members stay until a job is finished"


async def test_a_turn_pages_past_running_members(redis: Redis) -> None:
    members = {f"{number:04}": NOW - 1000 + number for number in range(250)}
    await redis.zadd(QUEUE, members)
    free = ["0099", "0100", "0200", "0201", "0249"]  # about the pages' borders
    await redis.mset({IN_PROGRESS_PREFIX + member: "1" for member in members.keys() - set(free)})
    turn = await take(worker(redis), limit=50)
    assert ids(turn) == free
    assert (turn.running, turn.more) == (245, False)


async def test_a_turn_looks_at_a_bounded_number_and_the_next_goes_on(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LOOK", 100)
    members = {f"{number:04}": NOW - 1000 + number for number in range(350)}
    await redis.zadd(QUEUE, members)
    await redis.mset({IN_PROGRESS_PREFIX + member: "1" for member in members.keys() - {"0310"}})
    us = worker(redis)
    found = [await take(us, limit=5) for _ in range(4)]
    assert [ids(turn) for turn in found] == [[], [], [], ["0310"]]
    assert [turn.more for turn in found] == [True, True, True, False]


async def test_a_job_that_was_given_back_is_found_though_the_search_begins_behind_it(redis: Redis) -> None:
    await redis.zadd(QUEUE, {f"{number}": NOW - 10 + number for number in range(6)})
    us = worker(redis)
    first = await take(us, limit=3)
    assert ids(first) == ["0", "1", "2"]
    await take(us, turns.give_back(first.leases[2]))
    assert ids(await take(us, limit=1)) == ["2"], "its place is where the search would begin"
    await take(us, turns.give_back(first.leases[0]))
    us.look_from_the_head()
    assert ids(await take(us, limit=2)) == ["0", "3"]


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
async def test_what_a_turn_takes(redis: Redis, queue: dict[str, int], limit: int, expected: list[str]) -> None:
    if queue:
        await redis.zadd(QUEUE, queue)
    assert ids(await take(worker(redis), limit=limit)) == expected


@pytest.mark.parametrize(
    ("life_ms", "keep_ms", "left"),
    [
        pytest.param(5000, 0, [b"arq:result:a"], id="a result for a while"),
        pytest.param(0, 0, [b"arq:result:a"], id="a result for ever"),
        pytest.param(5000, 60_000, [b"arq:in-progress:a", b"arq:result:a"], id="a cron job keeps its id"),
    ],
)
async def test_what_a_finished_job_leaves(redis: Redis, life_ms: int, keep_ms: int, left: list[bytes]) -> None:
    us = worker(redis)
    lease = await lease_one(redis, us)
    await redis.zadd(keys.ABORT, {"a": NOW})
    turn = await take(us, turns.finish(lease, b"result", life_ms=life_ms, keep_in_progress_ms=keep_ms))
    assert (turn.ended, turn.buried) == ([True], [False])
    assert await traces(redis) == left
    assert await redis.get(RESULT_PREFIX + "a") == b"result"
    assert await redis.exists(keys.ABORT) == 0
    assert life_ms - 2000 < await redis.pttl(RESULT_PREFIX + "a") <= life_ms if life_ms else True
    assert (await take(us, turns.finish(lease, b"other"))).ended == [False], "once is enough"
    assert await redis.get(RESULT_PREFIX + "a") == b"result"


async def test_a_run_whose_lease_another_worker_holds_changes_nothing(redis: Redis) -> None:
    us = worker(redis)
    lease = await lease_one(redis, us)
    await redis.set(IN_PROGRESS_PREFIX + "a", "1")  # our lease ended, and a plain arq worker took it
    await redis.set(RETRY_PREFIX + "a", 2)
    before = await traces(redis)
    ends = [
        turns.finish(lease, b"result"),
        turns.bury(lease, b"result", DEATH),
        turns.put_back(lease, b"result", DEATH),
        turns.requeue(lease, due_ms=NOW + 9, tries=7),
        turns.give_back(lease),
        turns.lease_again(lease),
    ]
    assert (await take(us, *ends)).ended == [False] * len(ends)
    assert await traces(redis) == before
    assert await redis.mget([IN_PROGRESS_PREFIX + "a", RETRY_PREFIX + "a"]) == [b"1", b"2"]
    assert await redis.exists(keys.dead_letters(QUEUE)) == 0


async def test_a_lease_that_ran_out_unnoticed_still_counts(redis: Redis) -> None:
    """Redis was away for longer than a lease, and so was everybody else."""
    us = worker(redis)
    lease = await lease_one(redis, us)
    await redis.delete(IN_PROGRESS_PREFIX + "a")
    assert (await take(us, turns.lease_again(lease))).ended == [True]
    assert await redis.get(IN_PROGRESS_PREFIX + "a") == b"us:0"
    await redis.delete(IN_PROGRESS_PREFIX + "a")
    assert (await take(us, turns.finish(lease, b"result"))).ended == [True]
    assert await traces(redis) == [b"arq:result:a"]


async def test_a_lease_that_ran_out_and_was_taken_and_given_up_does_not_count(redis: Redis) -> None:
    us, they = worker(redis), worker(redis, "they")
    lease = await lease_one(redis, us)
    await redis.delete(IN_PROGRESS_PREFIX + "a")
    (theirs,) = (await take(they, limit=1)).leases
    assert theirs.tries == 2
    await take(they, turns.requeue(theirs))
    assert (await take(us, turns.finish(lease, b"result"))).ended == [False]


async def test_giving_back_restores_what_the_lease_found(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"fresh": NOW - 2, "tried": NOW - 1})
    await redis.set(RETRY_PREFIX + "tried", 3)
    us = worker(redis)
    leases = (await take(us, limit=2)).leases
    assert (await take(us, *map(turns.give_back, leases))).ended == [True, True]
    assert await redis.mget([RETRY_PREFIX + "fresh", RETRY_PREFIX + "tried"]) == [None, b"3"]
    assert [lease.tries for lease in (await take(worker(redis, "they"), limit=2)).leases] == [1, 4]


async def test_a_retry_moves_the_due_time_once(redis: Redis) -> None:
    us = worker(redis)
    lease = await lease_one(redis, us)
    end = turns.requeue(lease, due_ms=NOW + 100, tries=4)
    assert [(await take(us, end)).ended for _ in range(2)] == [[True], [False]]
    assert await redis.zscore(QUEUE, "a") == NOW + 100
    assert await redis.get(RETRY_PREFIX + "a") == b"4"
    assert await redis.exists(IN_PROGRESS_PREFIX + "a") == 0


async def test_aborts_are_told_of_leased_and_of_running_jobs(redis: Redis) -> None:
    us = worker(redis)
    await lease_one(redis, us, "running")
    await redis.zadd(QUEUE, {"waiting": NOW})
    await redis.zadd(keys.ABORT, {"running": NOW, "waiting": NOW, "elsewhere": NOW})
    turn = await take(us, limit=1, running=["running", "other"])
    assert [(lease.job_id, lease.aborted) for lease in turn.leases] == [("waiting", True)]
    assert turn.to_abort == ["running"]


# -- many that run --


async def busy_fleet(redis: Redis, jobs: int) -> tuple[list[Turns], list[list[Lease]]]:
    """Workers of 100 slots that run so many jobs of a queue with as many more."""
    await redis.zadd(QUEUE, {f"{number:06}": NOW - 2 * jobs + number for number in range(2 * jobs)})
    fleet = [worker(redis, f"w{number}") for number in range(jobs // 100)]
    held: list[list[Lease]] = []
    for us in fleet:
        held.append([])
        while len(held[-1]) < 100:
            held[-1] += (await take(us, limit=100 - len(held[-1]))).leases
    return fleet, held


async def test_finding_free_jobs_takes_no_longer_the_more_run(redis: Redis) -> None:
    fleet, held = await busy_fleet(redis, 5000)
    chance = random.Random(7)  # noqa: S311
    calls, claims = 0, 200
    for _ in range(claims):
        number = chance.randrange(len(fleet))
        chance.shuffle(held[number])
        ends = [turns.finish(held[number].pop(), None) for _ in range(chance.randint(1, 20))]
        wanted = len(ends)
        while wanted:
            turn = await take(fleet[number], *ends, limit=wanted)
            held[number] += turn.leases
            wanted, ends, calls = wanted - len(turn.leases), [], calls + 1
    # One that began at the head again each time would take five.
    assert calls < 2 * claims


async def test_a_job_that_becomes_free_among_many_that_run_is_found(redis: Redis) -> None:
    fleet, held = await busy_fleet(redis, 3000)
    lost = held[3][50]
    await redis.delete(IN_PROGRESS_PREFIX + lost.job_id)
    us, ours = fleet[-1], held[-1]
    for _ in range(100):
        ours += (await take(us, turns.finish(ours.pop(0), None), limit=1)).leases
        if ours[-1].job_id == lost.job_id:
            break
    assert ours[-1].job_id == lost.job_id
