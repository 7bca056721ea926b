"""What a snapshot says of a queue, against a real Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from arqube_queue import heartbeat, keys
from arqube_queue.model import Heartbeat, QueueSnapshot
from arqube_queue.snapshot import SCAN_LIMIT, SnapshotQuery, read_snapshots

QUEUE = "arq:queue"
BEAT = Heartbeat(worker="pod-1", at_ms=0, busy=3, slots=10, started=7, finished={"succeeded": 4}, functions=("send",))


async def server_ms(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def snapshot(redis: Redis, horizon_s: float = 0.0) -> QueueSnapshot:
    (result,) = await read_snapshots(redis, [SnapshotQuery(QUEUE, horizon_s)])
    assert isinstance(result, QueueSnapshot)
    return result


@pytest.mark.parametrize(
    ("offsets_s", "running", "expected"),
    [
        pytest.param([], [], {}, id="an empty queue has nothing"),
        pytest.param([-5, -3, -1], [], {"waiting": 3}, id="due jobs wait"),
        pytest.param([-5, -3, -1], [0, 1], {"waiting": 1, "running": 2}, id="a job with an in-progress key runs"),
        pytest.param([60, 3600], [], {"deferred": 2}, id="jobs of the future are deferred, not waiting"),
        pytest.param([5, 20, 3600], [], {"deferred": 3, "due_soon": 2}, id="those within the horizon are due soon"),
    ],
)
async def test_jobs_are_counted_by_state(
    redis: Redis, offsets_s: list[float], running: list[int], expected: dict[str, int]
) -> None:
    now = await server_ms(redis)
    for index, offset in enumerate(offsets_s):
        await redis.zadd(QUEUE, {f"job-{index}": now + offset * 1000})
    for index in running:
        await redis.set(keys.IN_PROGRESS_PREFIX + f"job-{index}", "1")

    seen = await snapshot(redis, horizon_s=30)

    counts = {name: getattr(seen, name) for name in ("waiting", "running", "deferred", "due_soon")}
    assert counts == {"waiting": 0, "running": 0, "deferred": 0, "due_soon": 0} | expected


async def test_the_oldest_wait_is_that_of_a_waiting_job_not_of_a_running_one(redis: Redis) -> None:
    now = await server_ms(redis)
    await redis.zadd(QUEUE, {"running": now - 90_000, "aborted": 1, "waiting": now - 20_000})
    await redis.set(keys.IN_PROGRESS_PREFIX + "running", "1")

    assert (await snapshot(redis)).oldest_wait_s == pytest.approx(20, abs=2)


async def test_the_next_deferred_job_is_seen(redis: Redis) -> None:
    now = await server_ms(redis)
    await redis.zadd(QUEUE, {"soon": now + 40_000, "later": now + 90_000})

    assert (await snapshot(redis)).next_due_s == pytest.approx(40, abs=2)


async def test_beyond_the_scan_the_workers_own_counts_tell_what_runs(redis: Redis) -> None:
    now = await server_ms(redis)
    jobs = {f"job-{index}": now - 1000 for index in range(SCAN_LIMIT + 500)}
    await redis.zadd(QUEUE, jobs)
    for worker in range(2):
        await heartbeat.write(redis, QUEUE, replace(BEAT, worker=f"pod-{worker}", busy=600, slots=600))

    seen = await snapshot(redis)

    assert (seen.running, seen.waiting) == (1200, 300)


async def test_a_heartbeat_comes_back_as_it_was_written_with_the_servers_time(redis: Redis) -> None:
    before = await server_ms(redis)
    await heartbeat.write(redis, QUEUE, BEAT)

    (seen,) = (await snapshot(redis)).heartbeats

    assert seen.at_ms >= before
    assert seen == replace(BEAT, at_ms=seen.at_ms)


async def test_a_removed_worker_is_not_seen(redis: Redis) -> None:
    await heartbeat.write(redis, QUEUE, BEAT)
    await heartbeat.remove(redis, QUEUE, BEAT.worker)

    assert (await snapshot(redis)).heartbeats == ()


async def test_stale_and_unreadable_heartbeats_are_dropped_from_redis(redis: Redis) -> None:
    await heartbeat.write(redis, QUEUE, BEAT)
    stale = await server_ms(redis) - int(heartbeat.STALE_AFTER_S * 1000) - 1
    hash_key = keys.heartbeats(QUEUE)
    await redis.hset(hash_key, mapping={"dead": f"{stale} {{}}", "foreign": "nonsense"})

    seen = await snapshot(redis)

    assert [beat.worker for beat in seen.heartbeats] == [BEAT.worker]
    assert await redis.hkeys(hash_key) == [BEAT.worker.encode()]


async def test_dead_letters_are_counted(redis: Redis) -> None:
    await redis.zadd(keys.dead_letters(QUEUE), {"job-1": 1, "job-2": 2})
    await redis.zadd(keys.dead_letters("other"), {"job-3": 3})

    assert (await snapshot(redis)).dead_letters == 2


async def test_a_key_that_is_no_queue_spoils_only_its_own_result(redis: Redis) -> None:
    await redis.set("text", "not a queue")
    await redis.zadd(QUEUE, {"job": 1_000})

    wrong, right = await read_snapshots(redis, [SnapshotQuery("text"), SnapshotQuery(QUEUE)])

    assert isinstance(wrong, ResponseError)
    assert isinstance(right, QueueSnapshot)
    assert right.waiting == 1


async def test_scripts_are_loaded_again_after_a_restart_forgot_them(redis: Redis) -> None:
    await redis.script_flush()

    assert (await snapshot(redis)).waiting == 0
