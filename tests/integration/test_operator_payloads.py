"""Payloads that the operator keeps: of all queues within a minute, of a few queues at a time."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from arqube_operator.observe.cluster import Key
from arqube_operator.observe.payloads import PAUSE_S, PayloadKeeper
from arqube_queue import payload_life

HOUR_MS = 3_600_000


async def overdue(redis: Redis, queue: str, jobs: int) -> None:
    """Jobs whose payloads have an hour left of arq's day."""
    now_ms = int((await redis.time())[0]) * 1000
    await redis.zadd(queue, {f"{queue}-{number}": now_ms - 23 * HOUR_MS for number in range(jobs)})
    for number in range(jobs):
        await redis.set(f"arq:job:{queue}-{number}", "payload", px=HOUR_MS)


async def kept(redis: Redis) -> int:
    lives = [await redis.ttl(key) for key in await redis.keys("arq:job:*")]
    return lives.count(-1)


async def test_each_queue_has_its_turn_within_the_pause_a_few_a_tick(redis: Redis) -> None:
    waiting = {Key("shop", f"q{number}"): f"q{number}" for number in range(90)}
    for queue in waiting.values():
        await overdue(redis, queue, 1)
    keeper = PayloadKeeper(redis, timeout_s=30)
    seen = []
    for tick in range(int(PAUSE_S)):
        await keeper.keep(waiting, 1000.0 + tick, tick_s=1.0)
        seen.append(await kept(redis))
    assert seen == [min(90, 2 * (tick + 1)) for tick in range(int(PAUSE_S))]


async def test_a_queue_is_looked_at_again_after_the_pause_and_not_before(redis: Redis) -> None:
    keeper, waiting = PayloadKeeper(redis, timeout_s=30), {Key("shop", "a"): "a"}
    await keeper.keep(waiting, 1000.0, tick_s=1.0)
    await overdue(redis, "a", 1)
    await keeper.keep(waiting, 1000.0 + PAUSE_S - 1, tick_s=1.0)
    assert await kept(redis) == 0
    await keeper.keep(waiting, 1000.0 + PAUSE_S, tick_s=1.0)
    assert await kept(redis) == 1


async def test_a_long_queue_is_gone_through_page_by_page_in_turns_with_others(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_life, "LOOK", 4)
    await overdue(redis, "long", 10)
    await overdue(redis, "short", 1)
    keeper = PayloadKeeper(redis, timeout_s=30)
    seen = []
    for tick in range(5):
        await keeper.keep({Key("shop", "a"): "long", Key("shop", "b"): "short"}, 1000.0 + tick, tick_s=1.0)
        seen.append(await kept(redis))
    assert seen == [4, 5, 9, 11, 11]


async def test_a_queue_that_cannot_be_looked_at_does_not_hold_up_the_others(redis: Redis) -> None:
    await redis.set("a", "no queue")
    await overdue(redis, "b", 1)
    keeper, waiting = PayloadKeeper(redis, timeout_s=30), {Key("shop", "a"): "a", Key("shop", "b"): "b"}
    for tick in range(2):
        await keeper.keep(waiting, 1000.0 + tick, tick_s=1.0)
    assert await kept(redis) == 1
