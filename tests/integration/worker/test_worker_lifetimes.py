"""How long payloads of waiting jobs and requests to abort jobs are kept."""

from __future__ import annotations

from typing import Any

import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from arqube_queue import aborts, payload_life, turns
from arqube_queue.keys import ABORT, JOB_PREFIX
from builders.turns import NOW, QUEUE, take, worker

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param({}, True, id="arq's default life"),
        pytest.param({"_defer_by": 7200}, True, id="arq's default life of a deferred job"),
        pytest.param({"_expires": 7200}, False, id="a life that the producer has set"),
        pytest.param({"_expires": 7200, "_defer_by": 3600}, False, id="one set for a deferred job"),
        pytest.param({"_expires": 2 * 86_400}, False, id="one longer than the default"),
    ],
)
async def test_which_payloads_are_kept_when_a_retry_is_deferred(
    redis: Redis, arq_client: ArqRedis, options: dict[str, Any], kept: bool
) -> None:
    await arq_client.enqueue_job("work", _job_id="a", **options)
    us = worker(redis)
    (lease,) = (await take(us, limit=1, now_ms=2 * NOW)).leases
    await take(us, turns.requeue(lease, due_ms=2 * NOW))
    assert (await redis.pttl(JOB_PREFIX + "a") == -1) is kept


async def test_payloads_of_an_old_backlog_are_kept_page_by_page(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_life, "LOOK", 4)
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    expected = {}
    for number in range(14):
        hours, own = (20, number % 3 == 0) if number < 10 else (3, False)
        due = now_ms - hours * 3_600_000 + number
        await redis.zadd(QUEUE, {f"{number:02}": due})
        left = due + DAY_MS - now_ms
        await redis.psetex(JOB_PREFIX + f"{number:02}", left - 1_000_000 if own else left, b"payload")
        expected[f"{number:02}"] = number < 10 and not own
    first, calls = 0, 0
    while True:
        first, calls = await payload_life.keep_payloads(redis, QUEUE, first=first), calls + 1
        if not first:
            break
    assert calls == 3
    assert {name: await redis.pttl(JOB_PREFIX + name) == -1 for name in expected} == expected


async def test_requests_to_abort_jobs_that_are_long_over_are_forgotten_some_at_a_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aborts, "LOOK", 3)
    seconds, _ = await redis.time()
    old_ms, recent_ms = seconds * 1000 - DAY_MS - 1000, seconds * 1000
    await redis.zadd(ABORT, {f"over-{number}": old_ms + number for number in range(4)})
    await redis.zadd(ABORT, {"waiting": old_ms, "recent": recent_ms})
    await redis.set(JOB_PREFIX + "waiting", b"payload")

    assert await aborts.forget_old(redis) == 2
    assert await aborts.forget_old(redis) == 2
    assert await redis.zrange(ABORT, 0, -1) == [b"waiting", b"recent"]
