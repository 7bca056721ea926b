"""Asking workers to retire, against a real Redis: who is asked, for how long, and what their heartbeats may claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_queue import heartbeat, keys
from arqube_queue import snapshot as snapshots
from arqube_queue.model import Heartbeat, QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

Eventually = Callable[..., Awaitable[Any]]

QUEUE = "arq:queue"
MARKS = keys.retiring(QUEUE)


async def ask(redis: Redis, *workers: str, owner: str = "emails") -> QueueSnapshot:
    (result,) = await read_snapshots(redis, [SnapshotQuery(QUEUE, retiring=frozenset(workers), owner=owner)])
    assert isinstance(result, QueueSnapshot)
    return result


async def beat(redis: Redis, worker: str, *, retiring: bool = False) -> bool:
    return await heartbeat.write(redis, QUEUE, Heartbeat(worker=worker, at_ms=0, busy=0, slots=1, retiring=retiring))


async def test_the_workers_that_are_named_are_asked_and_no_others(redis: Redis) -> None:
    assert not await beat(redis, "a")
    await ask(redis, "a", "b")

    assert [await beat(redis, worker) for worker in ("a", "b", "c")] == [True, True, False]


async def test_a_worker_that_is_no_longer_named_is_free_at_once(redis: Redis) -> None:
    await ask(redis, "a", "b")
    await ask(redis, "b")
    assert [await beat(redis, worker) for worker in ("a", "b")] == [False, True]

    await ask(redis)
    assert not await beat(redis, "b")
    assert not await redis.exists(MARKS)


async def test_owners_of_one_queue_leave_each_others_workers(redis: Redis) -> None:
    await ask(redis, "a", owner="emails")
    await ask(redis, "b", owner="reports")
    await ask(redis, owner="reports")

    assert [await beat(redis, worker) for worker in ("a", "b")] == [True, False]


async def test_a_reader_without_an_owner_changes_nothing(redis: Redis) -> None:
    await read_snapshots(redis, [SnapshotQuery(QUEUE)])
    assert not await redis.exists(MARKS)
    await ask(redis, "a")

    await read_snapshots(redis, [SnapshotQuery(QUEUE, retiring=frozenset({"b"}))])

    assert [await beat(redis, worker) for worker in ("a", "b")] == [True, False]


async def test_marks_that_nobody_renews_end(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(snapshots.heartbeat, "RETIREMENT_S", 2.0)
    await ask(redis, "a")
    assert await beat(redis, "a")

    async def is_free() -> bool:
        return not await beat(redis, "a")

    async def are_gone() -> bool:
        return not await redis.exists(MARKS)

    await eventually(is_free)
    await eventually(are_gone)


async def test_a_mark_ends_though_another_owner_renews_its_own(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(snapshots.heartbeat, "RETIREMENT_S", 2.0)
    await ask(redis, "a", owner="emails")

    async def is_free() -> bool:
        await ask(redis, "b", owner="reports")
        return not await beat(redis, "a")

    await eventually(is_free)
    assert await beat(redis, "b")
    await ask(redis, "b", owner="reports")  # the mark may have ended after the last one looked
    assert await redis.hkeys(MARKS) == [b"b"]


@pytest.mark.parametrize(
    ("marked", "claims", "shown"),
    [
        pytest.param(True, True, True, id="one that is asked to and says that it retires does"),
        pytest.param(True, False, False, id="one that was asked has yet to heed it"),
        pytest.param(False, True, False, id="the claim of one that is not asked any more is void, as it goes on"),
    ],
)
async def test_a_heartbeat_tells_of_retirement_only_while_it_is_asked_for(
    redis: Redis, marked: bool, claims: bool, shown: bool
) -> None:
    await ask(redis, *(["a"] if marked else []))

    assert await beat(redis, "a", retiring=claims) == marked

    (seen,) = (await ask(redis, "a")).heartbeats
    assert seen.retiring == shown


async def test_a_full_redis_is_read_though_nobody_can_be_asked(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"job": 1000})
    await redis.config_set("maxmemory", "1")
    try:
        seen = await ask(redis, "a")
    finally:
        await redis.config_set("maxmemory", "0")

    assert seen.waiting == 1
    assert not await redis.exists(MARKS)


async def test_thousands_can_be_asked_at_once(redis: Redis) -> None:
    workers = [f"emails-worker-5b9c7d-{number:05}" for number in range(5000)]
    await ask(redis, *workers)

    assert await redis.hlen(MARKS) == len(workers)
    assert await beat(redis, workers[-1])
