"""A wake-up whose connection ends, or whose server does not tell of changes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_queue import wakeup as module
from arqube_queue.connection import RedisAddress
from arqube_queue.wakeup import Wakeup
from builders.relay import Relay

QUEUE = "arq:queue"
SOON_S = 5.0
"""Time to be woken in; it takes milliseconds, but machines may be busy."""
MOMENT_S = 0.2
"""Time not to be woken in."""

Eventually = Callable[..., Awaitable[Any]]
Waiting = Callable[..., AbstractAsyncContextManager[Wakeup]]


# -- connections that end --


async def test_a_killed_connection_is_replaced_and_wakes(client: Redis, waiting: Waiting) -> None:
    async with waiting(client) as wakeup:
        (tracker,) = [found for found in await client.client_list() if "t" in found["flags"]]
        await client.client_kill_filter(_id=tracker["id"])

        assert await wakeup.wait(SOON_S)
        while not wakeup.available:
            assert await wakeup.wait(SOON_S)
        await client.zadd(QUEUE, {"a": 1})
        assert await wakeup.wait(SOON_S)


async def test_a_restarted_server_wakes_and_tells_again(eventually: Eventually, waiting: Waiting) -> None:
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
    port = free_port()
    address = RedisAddress(host="127.0.0.1", port=port)
    async with address.connect() as client, Wakeup.beside(client, QUEUE) as wakeup:
        assert not await wakeup.wait(MOMENT_S)
        assert not wakeup.available
        with RedisServer(port=port):
            assert await wakeup.wait(SOON_S)
            assert wakeup.available


async def test_a_server_that_hangs_is_left_and_found_again(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
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


async def test_a_proxy_that_hangs_up_leaves_a_sleep_and_is_not_stormed(shared_server: RedisServer) -> None:
    class HangsUp(Relay):
        async def to_server(self, data: bytes) -> bytes:
            if b"HELLO" in data:
                raise EOFError
            return data

    async with (
        HangsUp(shared_server.address.port) as relay,
        replace(shared_server.address, port=relay.port).connect() as proxied,
        Wakeup.beside(proxied, QUEUE) as wakeup,
    ):
        assert not await wakeup.wait(1.0)
        assert not wakeup.available
        assert 2 <= relay.connected <= 7


async def test_a_proxy_that_drops_what_is_told_is_found_out(
    client: Redis, shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.1)

    class Deafens(Relay):
        async def to_client(self, data: bytes) -> bytes:
            return b"" if data.startswith(b">") else data

    async with (
        Deafens(shared_server.address.port) as relay,
        replace(shared_server.address, port=relay.port).connect() as proxied,
        waiting(proxied) as wakeup,
    ):
        await client.zadd(QUEUE, {"a": 1})

        assert await wakeup.wait(SOON_S)
        assert not wakeup.available


async def test_a_change_told_while_the_server_is_asked_for_a_sign_of_life_wakes(
    client: Redis, shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.05)

    class ChangesBeforeTheSecondQuestion(Relay):
        questions = 0

        async def to_server(self, data: bytes) -> bytes:
            self.questions += b"ZCARD" in data
            if b"ZCARD" in data and self.questions == 2:
                await client.zadd(QUEUE, {"a": 1})
            return data

    async with (
        ChangesBeforeTheSecondQuestion(shared_server.address.port) as relay,
        replace(shared_server.address, port=relay.port).connect() as proxied,
        waiting(proxied) as wakeup,
    ):
        assert await wakeup.wait(SOON_S)
        assert wakeup.available
