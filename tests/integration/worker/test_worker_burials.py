"""What a turn makes of failed jobs and of those whose function nobody knows: dead letters, and jobs put back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_queue import heartbeat, keys, turns
from arqube_queue.keys import IN_PROGRESS_PREFIX, JOB_PREFIX, RESULT_PREFIX, RETRY_PREFIX
from arqube_queue.model import Heartbeat
from arqube_queue.turns import Death, Lease, Turns
from builders.turns import DEATH, NOW, QUEUE, lease_one, take, traces, worker

# -- dead letters --


async def test_a_dead_letter_keeps_what_is_needed_to_understand_and_to_repeat(redis: Redis) -> None:
    us = worker(redis)
    lease = await lease_one(redis, us, payload=b"\x80\x04payload")
    turn = await take(us, turns.bury(lease, b"result", DEATH, life_ms=5000))
    assert (turn.ended, turn.buried) == ([True], [True])
    assert await traces(redis) == [b"arq:result:a"]
    (found,) = await redis.zrange(keys.dead_letters(QUEUE), 0, -1, withscores=True)
    letter: Any = await redis.hgetall(keys.dead_letter(QUEUE, "a"))  # type: ignore[misc]
    died_ms = letter.pop(b"died_ms")
    assert found == (b"a", int(died_ms))
    assert abs(int((await redis.time())[0]) * 1000 - int(died_ms)) < 10_000
    assert letter == {
        b"payload": b"\x80\x04payload",
        b"reason": b"failed",
        b"function": b"work",
        b"error": b"ValueError: no luck",
        b"traceback": b"Traceback ...",
        b"tries": b"2",
        b"enqueued_ms": str(NOW - 7).encode(),
        b"worker": b"us",
    }


async def test_a_dead_letter_without_payload_and_with_odd_text_is_kept_too(redis: Redis) -> None:
    us = worker(redis)
    lease = await lease_one(redis, us)
    await redis.delete(JOB_PREFIX + "a")
    death = Death("expired", "fünction\udcff", "e" * 9000, "head" + "t" * 99_000, 1, 0)
    await take(us, turns.bury(lease, None, death))
    letter: Any = await redis.hgetall(keys.dead_letter(QUEUE, "a"))  # type: ignore[misc]
    assert letter[b"payload"] == b""
    assert letter[b"function"].decode() == "fünction?"
    assert (len(letter[b"error"]), len(letter[b"traceback"])) == (turns.ERROR_LENGTH, turns.TRACEBACK_LENGTH)


async def test_dead_letters_are_bounded_by_number_and_age(redis: Redis) -> None:
    us = worker(redis, dead_letter_max_entries=3)
    for number in range(6):
        await take(us, turns.bury(await lease_one(redis, us, f"job{number}"), None, DEATH))
    assert await redis.zrange(keys.dead_letters(QUEUE), 0, -1) == [b"job3", b"job4", b"job5"]
    assert len(await redis.keys(keys.dead_letter(QUEUE, "*"))) == 3
    now_ms = int((await redis.time())[0]) * 1000
    await redis.zadd(keys.dead_letters(QUEUE), {"job3": now_ms - 61_000, "job4": now_ms - 59_000})
    us = worker(redis, dead_letter_retention_s=60)
    await take(us, turns.bury(await lease_one(redis, us, "job6"), None, DEATH))
    assert await redis.zrange(keys.dead_letters(QUEUE), 0, -1) == [b"job4", b"job5", b"job6"]
    assert len(await redis.keys(keys.dead_letter(QUEUE, "*"))) == 3


# -- unknown functions --


async def sighted(redis: Redis, us: Turns, *, before_s: float) -> Lease:
    """A lease of a job that was met that long ago."""
    lease = await lease_one(redis, us)
    seconds, microseconds = await redis.time()
    first = int(seconds * 1000 + microseconds // 1000 - before_s * 1000)
    await redis.hset(keys.unknown_functions(QUEUE), "a", str(first))  # type: ignore[misc]
    return lease


@pytest.mark.parametrize(
    ("before_s", "delay_ms"),
    [
        pytest.param(0, 1000, id="soon again at first"),
        pytest.param(5, 5000, id="later with time"),
        pytest.param(200, 10_000, id="but never much later"),
    ],
)
async def test_a_job_of_an_unknown_function_is_put_back(redis: Redis, before_s: float, delay_ms: int) -> None:
    us = worker(redis)
    lease = await sighted(redis, us, before_s=before_s)
    turn = await take(us, turns.put_back(lease, b"result", DEATH))
    assert (turn.ended, turn.buried) == ([True], [False])
    assert await redis.exists(RETRY_PREFIX + "a", IN_PROGRESS_PREFIX + "a", RESULT_PREFIX + "a") == 0
    due = await redis.zscore(QUEUE, "a")
    assert due is not None
    assert NOW + delay_ms <= due < NOW + delay_ms + 1000
    (again,) = (await take(us, limit=1, now_ms=int(due))).leases
    await take(us, turns.finish(again, None))
    assert await redis.exists(keys.unknown_functions(QUEUE)) == 0, "nothing is left of it once it is done"


async def test_it_is_buried_when_nobody_knew_the_function_for_the_whole_grace(redis: Redis) -> None:
    us = worker(redis, unknown_function_grace_s=60)
    turn = await take(us, turns.put_back(await sighted(redis, us, before_s=61), b"result", DEATH))
    assert (turn.ended, turn.buried) == ([True], [True])
    assert await traces(redis) == [b"arq:result:a"]
    assert await redis.zrange(keys.dead_letters(QUEUE), 0, -1) == [b"a"]
    assert await redis.exists(keys.unknown_functions(QUEUE)) == 0


async def test_it_is_not_while_a_living_worker_knows_it(redis: Redis) -> None:
    us = worker(redis, unknown_function_grace_s=60)
    await redis.hset(keys.heartbeats(QUEUE), "odd", b"no heartbeat")  # type: ignore[misc]
    await heartbeat.write(redis, QUEUE, Heartbeat("they", 0, 10, 10, functions=("other", "work")))
    turn = await take(us, turns.put_back(await sighted(redis, us, before_s=61), b"result", DEATH))
    assert turn.buried == [False]
    stale = json.dumps({"functions": ["work"]})
    await redis.hset(keys.heartbeats(QUEUE), "they", f"1000 {stale}")  # type: ignore[misc]
    await redis.zadd(QUEUE, {"a": NOW})
    (lease,) = (await take(us, limit=1)).leases
    assert (await take(us, turns.put_back(lease, b"result", DEATH))).buried == [True]


@pytest.mark.parametrize("function", ["work", "app.mails:work-now", "arbeit_für_später", 'of "quotes"', "a\\b"])
async def test_it_is_soon_due_again_while_a_living_worker_knows_it(redis: Redis, function: str) -> None:
    us = worker(redis, unknown_function_grace_s=60)
    for name, functions in (("first", ("other",)), ("they", ("other", function)), ("last", ())):
        await heartbeat.write(redis, QUEUE, Heartbeat(name, 0, 10, 10, functions=functions))
    await take(us, turns.put_back(await sighted(redis, us, before_s=200), b"result", DEATH._replace(function=function)))
    assert await redis.zscore(QUEUE, "a") == NOW + 1000
