"""The two set-ups of Redis: one server that loses nothing it has confirmed, and a pair with sentinels."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer, find_binary
from arqube_queue.connection import RedisAddress
from benchmarks.chaos.faults import NothingToStrikeError, Setup
from benchmarks.chaos.proxy import Proxy, proxy_to
from benchmarks.redis_commands import execute

MASTER: Final = "chaos"
SENTINELS: Final = 3
DOWN_MS: Final = 1000
"""After how long without an answer the sentinels hold the primary for dead."""
READY_S: Final = 30.0
LOADING_S: Final = 50.0
"""How long a server may read its file on a busy machine."""
KEEPS_ALL: Final = (
    *("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "16mb"),
    *("--repl-diskless-sync-delay", "0"),
)
LOOK_S: Final = 0.05


class RedisUnderTest:
    """The Redis of a run.

    Attributes:
        setup: Which set-up it is.
        spec: ``spec.redis`` of TaskQueues on it.
        address: As clients reach it.
        confirmations: How many replicas must confirm an enqueue before it counts as acknowledged.
        servers: All servers, that hold data or may come to.
        proxy: What clients pass on their way; None with sentinels, who tell addresses themselves.
        sentinels: Their ports.
    """

    def __init__(
        self,
        setup: Setup,
        servers: list[RedisServer],
        *,
        spec: dict[str, Any],
        address: RedisAddress,
        proxy: Proxy | None = None,
        sentinels: tuple[int, ...] = (),
    ) -> None:
        self.setup = setup
        self.servers = servers
        self.spec = spec
        self.address = address
        self.proxy = proxy
        self.sentinels = sentinels
        self.confirmations = len(servers) - 1

    async def primary(self) -> RedisServer:
        """The server that takes writes now.

        Raises:
            NothingToStrikeError: None does.
        """
        if len(self.servers) == 1:
            return self.servers[0]
        for port in self.sentinels:
            with suppress(RedisError, OSError):
                async with RedisAddress("127.0.0.1", port).connect(timeout_s=1) as sentinel:
                    _, told = await execute(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                    return next(each for each in self.servers if each.address.port == int(told))
        raise NothingToStrikeError("no sentinel tells who is the primary")

    def direct(self, server: RedisServer, *, timeout_s: float = 5.0) -> Redis:
        """A client of one server, past the proxy; the caller closes it."""
        return server.address.connect(timeout_s=timeout_s)

    async def kill(self, server: RedisServer) -> None:
        """SIGKILL; it is gone when this returns."""
        if server.pid is not None:
            os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(server.stop)

    async def start(self, server: RedisServer) -> None:
        """Start it again, and wait until it answers."""
        if server.pid is None:
            await asyncio.to_thread(server.start)

    async def until_whole(self, timeout_s: float = READY_S) -> None:
        """Wait until the primary takes writes and, where there is a replica, that has all of it.

        Raises:
            TimeoutError: It does not come to that in time.
        """
        deadline = time.monotonic() + timeout_s
        while not await self._is_whole():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Redis was not whole again within {timeout_s:g} s")
            await asyncio.sleep(LOOK_S)

    async def _is_whole(self) -> bool:
        with suppress(RedisError, OSError, NothingToStrikeError, TimeoutError):
            async with self.direct(await self.primary(), timeout_s=1) as client:
                role, *_ = await execute(client, "ROLE")
                if role != b"master":
                    return False
                if not self.confirmations:
                    return True
                told = await client.info("replication")
                replicas = [told[name] for name in told if name.startswith("slave")]
                online = [each for each in replicas if isinstance(each, dict) and each["state"] == "online"]
                return len(online) >= self.confirmations
        return False


@asynccontextmanager
async def set_up(setup: Setup, folder: Path) -> AsyncIterator[RedisUnderTest]:
    """Start it in ``folder``; everything has ended afterwards."""
    async with AsyncExitStack() as stack:
        first = await _server(stack, folder / "redis-0")
        if setup is Setup.AOF:
            proxy = await stack.enter_async_context(proxy_to(first.address.port))
            where = RedisAddress("127.0.0.1", proxy.port)
            yield RedisUnderTest(
                setup, [first], spec={"host": where.host, "port": where.port}, address=where, proxy=proxy
            )
            return
        second = await _server(stack, folder / "redis-1", "--replicaof", "127.0.0.1", str(first.address.port))
        ports = tuple(_sentinel(stack, folder / f"sentinel-{number}", first) for number in range(SENTINELS))
        hosts = tuple(("127.0.0.1", port) for port in ports)
        redis = RedisUnderTest(
            setup,
            [first, second],
            spec={"sentinel": {"master": MASTER, "hosts": [f"{host}:{port}" for host, port in hosts]}},
            address=RedisAddress(sentinels=hosts, sentinel_master=MASTER),
            sentinels=ports,
        )
        await _until_watched(redis)
        yield redis


async def _server(stack: AsyncExitStack, folder: Path, *options: str) -> RedisServer:
    server = RedisServer(folder=folder, options=(*KEEPS_ALL, *options), start_s=LOADING_S)
    await asyncio.to_thread(server.start)
    stack.push_async_callback(_end, server)
    return server


async def _end(server: RedisServer) -> None:
    if server.pid is not None:
        os.kill(server.pid, signal.SIGCONT)  # A run that was broken off may leave it stopped.
    await asyncio.to_thread(server.stop)


def _sentinel(stack: AsyncExitStack, folder: Path, primary: RedisServer) -> int:
    folder.mkdir(parents=True)
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {primary.address.port} {SENTINELS // 2 + 1}\n"
        f"sentinel down-after-milliseconds {MASTER} {DOWN_MS}\n"
        f"sentinel failover-timeout {MASTER} 4000\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [find_binary(), str(configuration), "--sentinel"], stdout=log, stderr=log, start_new_session=True
        )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return port


async def _until_watched(redis: RedisUnderTest) -> None:
    """Wait until every sentinel knows the replica and the other sentinels."""
    deadline = time.monotonic() + READY_S
    for port in redis.sentinels:
        async with RedisAddress("127.0.0.1", port).connect() as sentinel:
            while True:
                with suppress(RedisError, OSError):
                    replicas = await execute(sentinel, "SENTINEL", "REPLICAS", MASTER)
                    others = await execute(sentinel, "SENTINEL", "SENTINELS", MASTER)
                    if len(replicas) == len(redis.servers) - 1 and len(others) == len(redis.sentinels) - 1:
                        break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the sentinels do not know each other within {READY_S:g} s")
                await asyncio.sleep(LOOK_S)
    await redis.until_whole()
