"""What befalls Redis itself: killed, paused, read-only, out of memory, busy, and failed over to its replica."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.redis_server import RedisServer
from arqube_queue.connection import RedisAddress
from benchmarks.chaos.faults import ONLY_AOF, ONLY_SENTINEL, Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.queues import LEASE_S
from benchmarks.chaos.redis_setups import MASTER
from benchmarks.chaos.stage import Stage
from benchmarks.redis_commands import execute

REDIS_FAULTS: Final = Catalogue()
FAILOVER_S: Final = 20.0
"""Longest wait for the sentinels to name another primary."""
BRIEF_S: Final = (0.3, 0.7)
"""Shorter than what lets the sentinels hold the primary for dead."""
BUSY: Final = "local till = redis.call('TIME')[1] + tonumber(ARGV[1]) while redis.call('TIME')[1] + 0 < till do end"


def _direct(stage: Stage, server: RedisServer) -> Redis:
    return stage.redis.direct(server, timeout_s=2.0)


async def _other_primary(stage: Stage, former: RedisServer) -> None:
    """Wait until the sentinels name another."""
    deadline = time.monotonic() + FAILOVER_S
    while time.monotonic() < deadline:
        with suppress(NothingToStrikeError):
            if await stage.redis.primary() is not former:
                return
        await asyncio.sleep(0.1)


@REDIS_FAULTS.fault(
    "redis: kill -9 and restart", Part.REDIS, Explains.RUNS, lasts_s=(0.3, 3.0), setups=ONLY_AOF, weight=2
)
async def killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All that it has confirmed is in its file."""
    (server,) = stage.redis.servers
    await stage.redis.kill(server)
    yield ()
    await stage.redis.start(server)


@REDIS_FAULTS.fault(
    "redis: away for longer than a lease", Part.REDIS, Explains.RUNS, lasts_s=(LEASE_S, LEASE_S * 2), setups=ONLY_AOF
)
async def away(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Killed, and back when all leases have run out."""
    (server,) = stage.redis.servers
    await stage.redis.kill(server)
    yield ()
    await stage.redis.start(server)


@REDIS_FAULTS.fault("redis: SIGSTOP", Part.REDIS, Explains.RUNS, lasts_s=(0.5, LEASE_S * 1.5), setups=ONLY_AOF)
async def stopped(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Connections stand, and nobody answers."""
    (server,) = stage.redis.servers
    assert server.pid is not None  # noqa: S101 - blows to one part follow each other
    os.kill(server.pid, signal.SIGSTOP)
    yield ()
    os.kill(server.pid, signal.SIGCONT)


@REDIS_FAULTS.fault("redis: CLIENT PAUSE", Part.REDIS, Explains.RUNS, setups=ONLY_AOF)
async def paused(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All commands of all clients wait, also the one that would end it: it ends by itself."""
    (server,) = stage.redis.servers
    seconds = chance.uniform(0.5, 3.0)
    async with _direct(stage, server) as redis:
        await execute(redis, "CLIENT", "PAUSE", int(seconds * 1000), "ALL")
    yield ()
    await asyncio.sleep(seconds)


@REDIS_FAULTS.fault("redis: brief CLIENT PAUSE of writes", Part.REDIS, Explains.NOTHING, lasts_s=BRIEF_S)
async def paused_briefly(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Far shorter than a lease, so it must cost nothing."""
    async with _direct(stage, await stage.redis.primary()) as redis:
        await execute(redis, "CLIENT", "PAUSE", 2_000, "WRITE")
        yield ()
        await execute(redis, "CLIENT", "UNPAUSE")


@REDIS_FAULTS.fault("redis: CLIENT KILL of all", Part.REDIS, Explains.RUNS)
async def disconnected(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Every client's connection is closed."""
    async with _direct(stage, await stage.redis.primary()) as redis:
        for kind in ("normal", "pubsub"):
            await execute(redis, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        yield ()


@REDIS_FAULTS.fault("redis: out of memory", Part.REDIS, Explains.RUNS, lasts_s=(1.0, 4.0))
async def full(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Writes that need room are refused."""
    server = await stage.redis.primary()
    async with _direct(stage, server) as redis:
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", int(used * 0.9))
    yield ()
    async with _direct(stage, server) as redis:
        await redis.config_set("maxmemory", 0)


@REDIS_FAULTS.fault("redis: READONLY", Part.REDIS, Explains.RUNS, lasts_s=(0.5, LEASE_S * 1.2), setups=ONLY_AOF)
async def read_only(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """It becomes a replica of a server that is not there: it keeps what it has, and refuses writes."""
    (server,) = stage.redis.servers
    async with _direct(stage, server) as redis:
        await execute(redis, "REPLICAOF", "127.0.0.1", 1)
    yield ()
    async with _direct(stage, server) as redis:
        await execute(redis, "REPLICAOF", "NO", "ONE")


@REDIS_FAULTS.fault("redis: busy in a script", Part.REDIS, Explains.RUNS, setups=ONLY_AOF)
async def busy(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """After its time limit it answers others with BUSY."""
    (server,) = stage.redis.servers
    async with _direct(stage, server) as redis:
        await redis.config_set("busy-reply-threshold", 100)
        with suppress(RedisError, OSError, TimeoutError):
            await execute(redis, "EVAL", BUSY, 0, chance.choice((1, 2)))
    yield ()


@REDIS_FAULTS.fault(
    "redis: primary kill -9, failover", Part.REDIS, Explains.COMPLETED, lasts_s=(2.0, 6.0), setups=ONLY_SENTINEL
)
async def failed_over(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """The replica takes over; the former primary comes back and must follow it."""
    former = await stage.redis.primary()
    await stage.redis.kill(former)
    try:
        yield ()
        await _other_primary(stage, former)
    finally:
        await stage.redis.start(former)
    await stage.redis.until_whole()


@REDIS_FAULTS.fault(
    "redis: primary SIGSTOP, failover", Part.REDIS, Explains.COMPLETED, lasts_s=(3.0, 6.0), setups=ONLY_SENTINEL
)
async def replaced(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """The former primary wakes up and takes itself for one still."""
    former = await stage.redis.primary()
    assert former.pid is not None  # noqa: S101 - it answers
    os.kill(former.pid, signal.SIGSTOP)
    try:
        yield ()
        await _other_primary(stage, former)
    finally:
        os.kill(former.pid, signal.SIGCONT)
    await stage.redis.until_whole()


@REDIS_FAULTS.fault("redis: SENTINEL FAILOVER", Part.REDIS, Explains.COMPLETED, setups=ONLY_SENTINEL)
async def handed_over(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """As an administrator does it, with both servers well."""
    former = await stage.redis.primary()
    async with RedisAddress("127.0.0.1", stage.redis.sentinels[0]).connect(timeout_s=2.0) as sentinel:
        with suppress(RedisError):  # NOGOODSLAVE, INPROG: soon after another failover
            await execute(sentinel, "SENTINEL", "FAILOVER", MASTER)
    yield ()
    await _other_primary(stage, former)
    await stage.redis.until_whole()


@REDIS_FAULTS.fault(
    "redis: replica kill -9 and restart", Part.REDIS, Explains.NOTHING, lasts_s=(0.5, 3.0), setups=ONLY_SENTINEL
)
async def replica_killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Enqueues are not confirmed meanwhile; jobs go on."""
    primary = await stage.redis.primary()
    (replica,) = [server for server in stage.redis.servers if server is not primary]
    await stage.redis.kill(replica)
    yield ()
    await stage.redis.start(replica)
    await stage.redis.until_whole()
