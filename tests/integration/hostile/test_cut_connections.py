"""A connection that is cut while something is enqueued: cron runs are queued nevertheless; of jobs arq says None."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from arq import cron
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_worker import crons
from builders.relay import Relay

CUTS = [pytest.param(False, id="before Redis has it"), pytest.param(True, id="after Redis has done it")]


async def tick(_ctx: dict[str, Any]) -> None: ...


class Cutter(Relay):
    """It hangs up on the first transaction: before Redis has it, or at Redis' answer."""

    def __init__(self, target: int, *, late: bool) -> None:
        super().__init__(target)
        self.late = late
        self.cuts = 0
        self._cutting = False

    async def to_server(self, data: bytes) -> bytes:
        self._cutting = b"PSETEX" in data.upper() and not self.cuts
        return data if self.late else self._unless_cut(data)

    async def to_client(self, data: bytes) -> bytes:
        return self._unless_cut(data)

    def _unless_cut(self, data: bytes) -> bytes:
        if self._cutting:
            self.cuts += 1
            raise EOFError
        return data


@asynccontextmanager
async def cutting_once(server: RedisServer, *, late: bool) -> AsyncIterator[ArqRedis]:
    """A plain arq client whose first transaction gets no answer."""
    async with Cutter(server.address.port, late=late) as cutter:
        pool = await create_pool(RedisSettings(host="127.0.0.1", port=cutter.port))
        try:
            yield pool
        finally:
            await pool.aclose(close_connection_pool=True)
    assert cutter.cuts == 1


@pytest.mark.parametrize("late", CUTS)
@pytest.mark.parametrize("unique", [pytest.param(True, id="unique"), pytest.param(False, id="on each worker")])
async def test_a_cron_run_is_queued_once_though_the_connection_was_cut(
    redis: Redis, redis_server: RedisServer, late: bool, unique: bool
) -> None:
    job = cron(tick, name="tick", second=set(range(60)), unique=unique, run_at_startup=True)
    async with cutting_once(redis_server, late=late) as pool:
        due = datetime.now(tz=UTC)
        if late:
            await crons._queue(pool, "mail", job, due)
        else:
            with pytest.raises(ConnectionError, match="a run of tick"):
                await crons._queue(pool, "mail", job, due)
            await crons._queue(pool, "mail", job, due)
    (job_id,) = await redis.zrange("mail", 0, -1)
    assert await redis.exists(keys.JOB_PREFIX + job_id.decode())


@pytest.mark.parametrize("late", CUTS)
async def test_arq_says_none_of_a_job_whether_it_is_queued_or_not(
    redis: Redis, redis_server: RedisServer, late: bool
) -> None:
    async with cutting_once(redis_server, late=late) as pool:
        assert await pool.enqueue_job("note", _job_id="a") is None
    assert await redis.zcard(keys.DEFAULT_QUEUE) == int(late), "docs/arq-compatibility.md tells of it"
