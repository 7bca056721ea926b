"""The samples that readings of a queue leave in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_queue import history, keys
from arqube_queue.history import Sample
from arqube_queue.model import QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

QUEUE = "arq:queue"
OWNER = "uid-1"
HISTORY = keys.history(QUEUE, OWNER)


async def look(redis: Redis, *, owner: str = OWNER, workers: tuple[int, int] | None = (3, 2)) -> QueueSnapshot:
    (result,) = await read_snapshots(redis, [SnapshotQuery(QUEUE, owner=owner, workers=workers)])
    assert isinstance(result, QueueSnapshot)
    return result


async def server_ms(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def test_a_reading_leaves_what_it_saw_and_the_workers_it_was_told_of(redis: Redis) -> None:
    now = await server_ms(redis)
    await redis.zadd(QUEUE, {"running": now - 90_000, "waiting": now - 20_000, "later": now + 60_000})
    await redis.set(keys.IN_PROGRESS_PREFIX + "running", "1")

    seen = await look(redis)

    (sample,) = await history.read(redis, QUEUE, OWNER)
    assert sample == Sample(seen.at_ms, 1, 1, 1, sample.oldest_wait_ms, replicas=3, ready=2)
    assert sample.oldest_wait_ms == pytest.approx(20_000, abs=2_000)


async def test_each_five_seconds_have_one_sample(redis: Redis, eventually: Callable[..., Awaitable[Any]]) -> None:
    looks: list[int] = []

    async def over_the_edge() -> bool:
        looks.append((await look(redis)).at_ms // 5000)
        return looks.count(looks[-1]) > 2 and len(set(looks)) > 1

    await eventually(over_the_edge, within_s=15)

    samples = await history.read(redis, QUEUE, OWNER)
    assert [sample.at_ms // 5000 for sample in samples] == sorted(set(looks))


async def test_old_samples_make_room_for_new_ones(redis: Redis) -> None:
    await redis.rpush(HISTORY, *(f"{at} 0 0 0 0 0 0" for at in range(400)))  # type: ignore[misc]
    await look(redis)

    kept = await history.read(redis, QUEUE, OWNER)
    assert len(kept) == 180
    assert kept[0].at_ms == 221
    assert await redis.pttl(HISTORY) > 0


@pytest.mark.parametrize(
    ("owner", "workers"),
    [
        pytest.param("", (3, 2), id="of a reader that owns no workers"),
        pytest.param(OWNER, None, id="of a reader that tells no workers"),
    ],
)
async def test_a_reading_leaves_nothing(redis: Redis, owner: str, workers: tuple[int, int] | None) -> None:
    await look(redis, owner=owner, workers=workers)
    assert await redis.keys() == []


async def test_owners_of_one_queue_have_each_a_history(redis: Redis) -> None:
    await look(redis, owner="uid-1", workers=(1, 1))
    await look(redis, owner="uid-2", workers=(2, 2))

    assert [sample.ready for sample in await history.read(redis, QUEUE, "uid-1")] == [1]
    assert [sample.ready for sample in await history.read(redis, QUEUE, "uid-2")] == [2]


async def test_a_server_that_takes_no_writes_is_read_all_the_same(redis: Redis) -> None:
    await redis.zadd(QUEUE, {"job": 1000})
    await redis.config_set("maxmemory", 1)
    try:
        assert (await look(redis)).waiting == 1
    finally:
        await redis.config_set("maxmemory", 0)
    assert await history.read(redis, QUEUE, OWNER) == []


async def test_what_is_no_sample_is_passed_over(redis: Redis) -> None:
    await redis.rpush(HISTORY, "", "1 2", "x 0 0 0 0 0 0", "9 1 2 3 4 5 6")  # type: ignore[misc]
    assert await history.read(redis, QUEUE, OWNER) == [Sample(9, 1, 2, 3, 4, 5, 6)]
