"""What wakes, on a real Redis and Valkey, what it costs, and by which ways to the server."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import wakeup as module
from arqube_queue.wakeup import Wakeup

QUEUE = "arq:queue"
SOON_S = 5.0
"""Time to be woken in; it takes milliseconds, but machines may be busy."""
MOMENT_S = 0.2
"""Time not to be woken in."""

Eventually = Callable[..., Awaitable[Any]]
Waiting = Callable[..., AbstractAsyncContextManager[Wakeup]]


async def calls(client: Redis, command: str) -> int:
    return int((await client.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def trackers(client: Redis) -> list[dict[str, str]]:
    return [found for found in await client.client_list() if "t" in found["flags"]]


# -- what wakes --


@pytest.mark.parametrize(
    ("command", "wakes"),
    [
        pytest.param(["ZADD", QUEUE, "2", "new"], True, id="a new job wakes"),
        pytest.param(["ZADD", QUEUE, "9", "old"], True, id="a job that moves wakes, as an abort does"),
        pytest.param(["ZREM", QUEUE, "old"], True, id="a job that goes wakes"),
        pytest.param(["DEL", QUEUE], True, id="a queue that goes wakes"),
        pytest.param(["FLUSHALL"], True, id="an emptied server wakes"),
        pytest.param(["EVAL", "return redis.call('ZADD', KEYS[1], 3, 'new')", "1", QUEUE], True, id="a script wakes"),
        pytest.param(["ZADD", "another", "1", "new"], False, id="another queue does not wake"),
        pytest.param(["ZADD", QUEUE, "1", "old"], False, id="a write that changes nothing does not wake"),
        pytest.param(["ZRANGE", QUEUE, "0", "-1"], False, id="a read does not wake"),
    ],
)
async def test_changes_wake_and_nothing_else(client: Redis, command: list[str], wakes: bool, waiting: Waiting) -> None:
    await client.zadd(QUEUE, {"old": 1})
    async with waiting(client) as wakeup:
        sleeper = asyncio.create_task(wakeup.wait(SOON_S if wakes else MOMENT_S))
        await asyncio.sleep(0)
        await client.execute_command(*command)

        assert await sleeper is wakes


async def test_a_change_while_nobody_waits_is_told_at_the_next_wait_once(client: Redis, waiting: Waiting) -> None:
    async with waiting(client) as wakeup:
        await client.zadd(QUEUE, {"a": 1, "b": 2})

        assert await wakeup.wait(SOON_S)
        assert not await wakeup.wait(MOMENT_S)


async def test_it_is_armed_again_after_each_wake_up_and_each_time_out(client: Redis, waiting: Waiting) -> None:
    async with waiting(client) as wakeup:
        for turn in range(5):
            assert not await wakeup.wait(0.02)
            await client.zadd(QUEUE, {f"job-{turn}": turn})
            assert await wakeup.wait(SOON_S)


async def test_whoever_looks_after_each_wake_up_sees_every_job(client: Redis, waiting: Waiting) -> None:
    jobs, seen, dice = 1000, 0, random.Random(7)  # noqa: S311

    async def produce() -> None:
        for index in range(jobs):
            await client.zadd(QUEUE, {f"job-{index}": index})
            if dice.random() < 0.1:
                await asyncio.sleep(dice.random() * 0.02)

    async with waiting(client) as wakeup:
        producer = asyncio.create_task(produce())
        while seen < jobs:
            assert await wakeup.wait(SOON_S), f"not woken at {seen} jobs"
            seen = await client.zcard(QUEUE)
        await producer


async def test_a_change_is_hinted_ahead_of_its_wake_up(client: Redis) -> None:
    hints: list[bool] = []
    async with Wakeup.beside(client, QUEUE, lambda: hints.append(sleeper.done())) as wakeup:
        assert await wakeup.wait(SOON_S)
        for turn in range(1, 4):
            sleeper = asyncio.create_task(wakeup.wait(SOON_S))
            await client.zadd(QUEUE, {f"job-{turn}": 1})

            assert await sleeper
            assert hints == [False] * turn


async def test_two_queues_are_told_apart(client: Redis, waiting: Waiting) -> None:
    async with waiting(client, "first") as first, waiting(client, "second") as second:
        await client.zadd("second", {"a": 1})

        assert await second.wait(SOON_S)
        assert not await first.wait(MOMENT_S)


async def test_all_workers_of_a_queue_are_woken(client: Redis, waiting: Waiting) -> None:
    async with waiting(client) as first, waiting(client) as second:
        await client.zadd(QUEUE, {"a": 1})

        assert await first.wait(SOON_S)
        assert await second.wait(SOON_S)


# -- what it costs --


async def test_many_changes_are_few_wake_ups(client: Redis, monkeypatch: pytest.MonkeyPatch, waiting: Waiting) -> None:
    monkeypatch.setattr(module, "REST_S", 0.05)
    wakes = 0

    async def produce() -> None:
        for index in range(1000):
            await client.zadd(QUEUE, {f"job-{index}": 1})

    async with waiting(client) as wakeup:
        began = time.monotonic()
        producer = asyncio.create_task(produce())
        while not producer.done():
            wakes += await wakeup.wait(MOMENT_S)
        most = (time.monotonic() - began) / module.REST_S + 2

    assert 2 <= wakes <= most
    assert await calls(client, "zcard") <= most + 1


async def test_changes_while_nobody_waits_cost_no_reads(client: Redis, waiting: Waiting) -> None:
    async with waiting(client):
        for index in range(200):
            await client.zadd(QUEUE, {f"job-{index}": 1})

        assert await calls(client, "zcard") == 1


async def test_an_idle_queue_costs_hardly_any_reads(
    client: Redis, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.4)
    async with waiting(client) as wakeup:
        assert not await wakeup.wait(1.0)

    assert 2 <= await calls(client, "zcard") <= 3
    assert await calls(client, "ping") == 0


async def test_it_needs_one_connection_and_leaves_none(client: Redis, eventually: Eventually, waiting: Waiting) -> None:
    before = len(await client.client_list())
    async with waiting(client):
        assert len(await client.client_list()) == before + 1
        assert len(await trackers(client)) == 1

    async def gone() -> bool:
        return len(await client.client_list()) == before

    await eventually(gone)


async def test_cancelling_leaves_nothing_behind(client: Redis, eventually: Eventually, waiting: Waiting) -> None:
    async def work() -> None:
        async with waiting(client) as wakeup:
            while True:
                await wakeup.wait(60)

    tasks = asyncio.all_tasks()
    for delay_s in (0, 0.001, 0.003, 0.01, 0.1):
        worker = asyncio.create_task(work())
        await asyncio.sleep(delay_s)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker

    assert asyncio.all_tasks() == tasks
    await eventually(lambda: not gc.collect())  # what was left open would warn now

    async def gone() -> bool:
        return not await trackers(client)

    await eventually(gone)


async def test_a_cancelled_wait_loses_no_wake_up(client: Redis, waiting: Waiting) -> None:
    async with waiting(client) as wakeup:
        for turn in range(100):
            sleeper = asyncio.create_task(wakeup.wait(SOON_S))
            await client.zadd(QUEUE, {f"job-{turn}": 1})
            sleeper.cancel()
            told = (await asyncio.gather(sleeper, return_exceptions=True))[0] is True

            assert told or await wakeup.wait(SOON_S)


# -- ways to Redis --


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"db": 3}, id="another database"),
        pytest.param({"decode_responses": True}, id="an app that wants text"),
        pytest.param({"protocol": 3}, id="an app on RESP3"),
        pytest.param({"retry_on_timeout": True, "health_check_interval": 1}, id="an app with retries and pings"),
        pytest.param({"socket_timeout": 0.05}, id="an app that waits briefly"),
    ],
)
async def test_the_apps_own_options_do_not_matter(client: Redis, options: dict[str, Any], waiting: Waiting) -> None:
    address = client.connection_pool.connection_kwargs
    async with Redis(host=address["host"], port=address["port"], **options) as app, waiting(app) as wakeup:
        assert not await wakeup.wait(MOMENT_S)
        await app.zadd(QUEUE, {"a": 1})
        assert await wakeup.wait(SOON_S)


async def test_a_unix_socket_will_do(tmp_path: Path, waiting: Waiting) -> None:
    path = str(tmp_path / "redis.sock")
    with RedisServer(options=("--unixsocket", path)):
        async with Redis(unix_socket_path=path) as client, waiting(client) as wakeup:
            await client.zadd(QUEUE, {"a": 1})
            assert await wakeup.wait(SOON_S)
