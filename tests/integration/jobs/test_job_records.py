"""What is recorded of jobs in Redis, beside plain arq's clients and workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import serialize_result
from redis.asyncio import Redis

from arqube_queue import dead_letters, job_records, job_tries, jobs, keys, open_jobs, turns
from arqube_queue.answers import now_ms
from arqube_queue.job_records import JobRecord, JobState
from arqube_queue.job_tries import JobTry
from builders.jobs import DEATH, QUEUE, bury, finish, lease, lines, lose, read, retry, take, worker

# -- one job, all its life --


async def test_a_job_is_seen_from_the_queue_to_its_end(redis: Redis, client: ArqRedis) -> None:
    began_ms = await now_ms(redis)
    await client.enqueue_job("send", "a secret", _job_id="a")
    waiting = await read(redis)
    assert (waiting.state, waiting.function, waiting.tries, waiting.tried) == (JobState.WAITING, "send", (), 0)
    assert waiting.enqueued_ms is not None
    assert waiting.enqueued_ms == waiting.due_ms
    us = worker(redis)
    leased = await lease(redis, us)
    running = await read(redis)
    assert (running.state, running.tried, running.started_ms) == (JobState.RUNNING, 1, running.tries[0].started_ms)
    assert began_ms <= running.tries[0].started_ms <= await now_ms(redis), "by Redis's clock"
    assert running.tries == (JobTry(1, "us", running.tries[0].started_ms),)
    await finish(redis, us, leased)
    done = await read(redis)
    assert done.ended_ms is not None
    assert began_ms <= done.ended_ms <= await now_ms(redis)
    assert done == JobRecord(
        "a",
        JobState.SUCCEEDED,
        function="send",
        enqueued_ms=7,
        ended_ms=done.ended_ms,
        outcome="succeeded",
        tries=(JobTry(1, "us", 1000, 3000, "succeeded"),),
        tried=1,
    )
    assert await redis.exists(keys.open_jobs(QUEUE)) == 0


async def test_tries_add_up_over_workers_and_losses(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    us, they = worker(redis), worker(redis, "they")
    await retry(redis, us, await lease(redis, us), in_ms=60_000)
    deferred = await read(redis)
    assert (deferred.state, deferred.retrying, deferred.error) == (JobState.DEFERRED, True, "OSError: later")
    await redis.zadd(QUEUE, {"a": 2})
    await lease(redis, they)
    await lose(redis)
    lost = await read(redis)
    assert (lost.state, [one.outcome for one in lost.tries]) == (JobState.WAITING, ["retried", "lost"])
    leased = await lease(redis, us)
    assert [one.outcome for one in (await read(redis)).tries] == ["retried", "lost", None]
    await bury(redis, us, leased)
    dead = await read(redis)
    assert [(one.number, one.worker, one.outcome) for one in dead.tries] == [
        (1, "us", "retried"),
        (2, "they", "lost"),
        (3, "us", "failed"),
    ]
    assert (dead.state, dead.dead_letter, dead.error) == (JobState.FAILED, True, DEATH.error)


async def test_a_dead_letter_that_is_put_back_keeps_its_tries(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    us = worker(redis)
    await bury(redis, us, await lease(redis, us))
    assert await jobs.retry(redis, QUEUE, "a") is dead_letters.Outcome.RETRIED
    waiting = await read(redis)
    assert (waiting.state, waiting.tried, waiting.retrying) == (JobState.WAITING, 0, True)
    await finish(redis, us, await lease(redis, us))
    done = await read(redis)
    assert [(one.number, one.outcome) for one in done.tries] == [(1, "failed"), (1, "succeeded")]
    assert (done.dead_letter, done.error) == (False, "")
    assert await redis.zcard(keys.job_ends(QUEUE)) == 1


async def test_a_new_job_of_an_old_id_begins_anew(redis: Redis, client: ArqRedis) -> None:
    us = worker(redis)
    for _ in range(2):
        await client.enqueue_job("send", _job_id="a")
        assert (await read(redis)).tries == ()
        leased = await lease(redis, us)
        assert leased.former is None
        await finish(redis, us, leased)
        await redis.delete(keys.RESULT_PREFIX + "a")
    assert len((await read(redis)).tries) == 1


async def test_a_job_that_is_given_back_before_it_began_shows_no_try(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    us = worker(redis)
    await retry(redis, us, await lease(redis, us))
    before = await read(redis)
    await take(redis, us, turns.give_back(await lease(redis, us)))
    assert (await read(redis)).tries == before.tries
    await take(redis, us, turns.put_back(await lease(redis, us), None, DEATH, record="never written"))
    assert (await read(redis)).tries == before.tries
    assert (await read(redis)).tried == before.tried


async def test_a_turn_that_is_repeated_records_its_leases_once(
    redis: Redis, client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = turns._TURN

    async def unanswered(*arguments: Any) -> Any:
        await real(*arguments)
        raise ConnectionError("the answer got lost")

    await client.enqueue_job("send", _job_id="fresh")
    await client.enqueue_job("send", _job_id="tried")
    us, they = worker(redis), worker(redis, "they")
    leased = (await take(redis, they, limit=2)).leases
    await take(redis, they, turns.give_back(leased[0]))
    await retry(redis, they, leased[1], name="they")
    with monkeypatch.context() as patch:
        patch.setattr(turns, "_TURN", unanswered)
        with pytest.raises(ConnectionError):
            await take(redis, us, limit=2)
    again = {one.job_id: one for one in (await take(redis, us, limit=2)).leases}
    assert again["fresh"].former is None
    assert again["tried"].former is not None
    assert [one.worker for one in (await read(redis, "fresh")).tries] == ["us"]
    assert [one.worker for one in (await read(redis, "tried")).tries] == ["they", "us"]


# -- bounds --


async def test_the_last_tries_of_a_job_are_kept_also_when_each_is_lost(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    us = worker(redis)
    for _ in range(job_tries.MOST_TRIES + 3):
        await lease(redis, us)
        await lose(redis)
    assert [one.number for one in (await read(redis)).tries] == list(range(4, job_tries.MOST_TRIES + 4))


async def test_ended_jobs_are_bounded_by_number_and_age(
    redis: Redis, client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "KEPT", 3)
    us = worker(redis)
    for number in range(6):
        await client.enqueue_job("send", _job_id=f"job{number}")
        await finish(redis, us, await lease(redis, us))
    assert await redis.zrange(keys.job_ends(QUEUE), 0, -1) == [b"job3", b"job4", b"job5"]
    assert sorted(await redis.hkeys(keys.job_records(QUEUE))) == [b"job3", b"job4", b"job5"]  # type: ignore[misc]
    now = await now_ms(redis)
    life = job_records.LIFE_MS
    await redis.zadd(keys.job_ends(QUEUE), {"job3": now - life - 1000, "job4": now - life + 60_000})
    await client.enqueue_job("send", _job_id="job6")
    await finish(redis, us, await lease(redis, us))
    assert await redis.zrange(keys.job_ends(QUEUE), 0, -1) == [b"job4", b"job5", b"job6"]
    assert sorted(await redis.hkeys(keys.job_records(QUEUE))) == [b"job4", b"job5", b"job6"]  # type: ignore[misc]
    for key in (keys.job_ends(QUEUE), keys.job_records(QUEUE)):
        assert life - 60_000 < await redis.pttl(key) <= life


async def test_many_that_end_together_make_room_together(
    redis: Redis, client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "KEPT", 50)
    us = worker(redis)
    for number in range(300):
        await client.enqueue_job("send", _job_id=f"job{number:03}")
    for _ in range(3):
        leased = (await take(redis, us, limit=100)).leases
        await take(redis, us, *(turns.finish(one, None, record=lines(one, "us", "succeeded")) for one in leased))
    assert await redis.zcard(keys.job_ends(QUEUE)) == 50
    assert await redis.hlen(keys.job_records(QUEUE)) == 50  # type: ignore[misc]


async def test_a_job_takes_little_room(redis: Redis, client: ArqRedis) -> None:
    us = worker(redis, "emails-6c9f7d5b8-x2k4p")
    for _ in range(500):
        await client.enqueue_job("send_welcome_email", {"user": "a secret"})
    leased = (await take(redis, us, limit=500)).leases
    function = job_tries.quoted("send_welcome_email")
    record = job_tries.only_try(function, 1_795_843_431_424, '"emails-6c9f7d5b8-x2k4p"', 10**12, 10**12, "succeeded")
    for first in range(0, 500, 100):
        await take(redis, us, *(turns.finish(one, None, record=record) for one in leased[first : first + 100]))
    sizes = [await redis.memory_usage(key, samples=0) for key in (keys.job_records(QUEUE), keys.job_ends(QUEUE))]
    assert sum(size for size in sizes if size) / 500 < 400


async def test_a_record_that_cannot_be_written_does_not_hold_up_jobs(redis: Redis, client: ArqRedis) -> None:
    for key in (keys.open_jobs(QUEUE), keys.job_records(QUEUE), keys.job_ends(QUEUE)):
        await redis.set(key, "of another type")
    await client.enqueue_job("send", _job_id="a")
    us = worker(redis)
    leased = await lease(redis, us)
    assert leased.former is None
    turn = await take(redis, us, turns.finish(leased, b"result", record="lines"))
    assert turn.ended == [True]
    assert await redis.get(keys.RESULT_PREFIX + "a") == b"result"
    assert await redis.zcard(QUEUE) == 0


async def test_an_end_that_fails_leaves_those_before_it_whole(redis: Redis, client: ArqRedis) -> None:
    for job_id in ("a", "b"):
        await client.enqueue_job("send", _job_id=job_id)
    await redis.set(keys.dead_letters(QUEUE), "of another type")
    us = worker(redis)
    first, second = (await take(redis, us, limit=2)).leases
    ends = (turns.finish(first, b"result", record='[null,0,"succeeded"]'), turns.bury(second, b"result", DEATH))
    with pytest.raises(Exception, match="WRONGTYPE"):
        await take(redis, us, *ends)
    assert await redis.zscore(QUEUE, first.job_id) is None, "else it would run again without its payload"
    assert await redis.get(keys.RESULT_PREFIX + first.job_id) == b"result"


# -- plain arq's workers --


async def test_a_job_of_a_plain_worker_has_no_tries(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    await redis.set(keys.IN_PROGRESS_PREFIX + "a", "1")
    await redis.set(keys.RETRY_PREFIX + "a", 1)
    assert (await read(redis)).state is JobState.RUNNING
    assert ((await read(redis)).tries, (await read(redis)).tried) == ((), 1)
    await end_as_plain_arq(redis)
    found = await job_records.read_job(redis, QUEUE, "a")
    assert found == JobRecord("a", JobState.ENDED)
    await redis.delete(keys.RESULT_PREFIX + "a")
    assert await job_records.read_job(redis, QUEUE, "a") is None


async def test_a_result_tells_nothing_of_a_job_of_another_queue(redis: Redis, client: ArqRedis) -> None:
    await redis.set(
        keys.RESULT_PREFIX + "a", serialize_result("send", (), {}, 1, 7, True, 1, 7, 8, "ref", "other", "a")
    )
    assert await job_records.read_job(redis, QUEUE, "a") is None
    found = await job_records.read_job(redis, "other", "a")
    assert found == JobRecord("a", JobState.ENDED)


async def end_as_plain_arq(redis: Redis, job_id: str = "a") -> None:
    await redis.zrem(QUEUE, job_id)
    await redis.delete(*(prefix + job_id for prefix in (keys.IN_PROGRESS_PREFIX, keys.RETRY_PREFIX, keys.JOB_PREFIX)))
    await redis.set(keys.RESULT_PREFIX + job_id, "pickled")


async def test_what_a_plain_worker_ends_keeps_the_tries_that_ours_had(redis: Redis, client: ArqRedis) -> None:
    us = worker(redis)
    for job_id in ("a", "stays"):
        await client.enqueue_job("send", _job_id=job_id)
    for leased in (await take(redis, us, limit=2)).leases:
        await retry(redis, us, leased)
    await end_as_plain_arq(redis)
    unsettled = await job_records.read_job(redis, QUEUE, "a")
    assert unsettled is not None
    assert (unsettled.state, [one.outcome for one in unsettled.tries]) == (JobState.ENDED, ["retried"])
    assert await open_jobs.settle(redis, QUEUE) == 0
    settled = await read(redis)
    assert settled == replace(unsettled, ended_ms=settled.ended_ms)
    assert await redis.hkeys(keys.open_jobs(QUEUE)) == [b"stays"]  # type: ignore[misc]


async def test_many_open_jobs_are_settled_in_steps(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_jobs, "LOOK", 100)
    await redis.hset(keys.open_jobs(QUEUE), mapping={f"{number}": '[1,"us",5]' for number in range(1000)})  # type: ignore[misc]
    cursor, calls = await open_jobs.settle(redis, QUEUE), 1
    while cursor:
        cursor, calls = await open_jobs.settle(redis, QUEUE, cursor=cursor), calls + 1
    assert calls > 3
    assert await redis.exists(keys.open_jobs(QUEUE)) == 0
    assert await redis.zcard(keys.job_ends(QUEUE)) == 1000


async def test_a_dead_letter_outlives_the_record(redis: Redis, client: ArqRedis) -> None:
    await client.enqueue_job("send", _job_id="a")
    us = worker(redis)
    await bury(redis, us, await lease(redis, us))
    await redis.delete(keys.job_records(QUEUE), keys.job_ends(QUEUE), keys.RESULT_PREFIX + "a")
    found = await job_records.read_job(redis, QUEUE, "a")
    assert found is not None
    assert (found.state, found.function, found.error) == (JobState.FAILED, "send", DEATH.error)
    assert (found.dead_letter, found.tries) == (True, ())
