"""What every suite may use: a real Redis of its own, and waiting for a condition with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import isawaitable
from typing import Any

import hypothesis
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.postgres_server import find_binaries as find_postgres
from arqube_local.redis_server import RedisServer, find_binary

# Machines are shared and noisy: how long an example took says nothing about the code.
hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


def pytest_report_header() -> list[str]:
    return [
        f"redis: {find_binary()}",
        f"postgresql: {find_postgres() or 'none found, so databases are SQLite alone'}",
    ]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the whole run; ``redis`` empties it before each test."""
    with RedisServer() as server:
        yield server


@pytest_asyncio.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    client = redis_server.address.connect()
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[Any]]:
    """Wait until ``condition()`` is true and return its value; fail with ``condition``'s last value at the deadline."""

    async def wait(condition: Callable[[], Any], *, within_s: float = 30.0, every_s: float = 0.02) -> Any:
        deadline = time.monotonic() + within_s
        while True:
            value = condition()
            if isawaitable(value):
                value = await value
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not so within {within_s} s; last value: {value!r}")
            await asyncio.sleep(every_s)

    return wait
