"""A connection that is cut while something is enqueued: cron runs are queued nevertheless; of jobs arq says None."""

from __future__ import annotations

import asyncio
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

CUTS = [pytest.param(False, id="before Redis has it"), pytest.param(True, id="after Redis has done it")]


async def tick(_ctx: dict[str, Any]) -> None: ...


@asynccontextmanager
async def cutting_once(server: RedisServer, *, late: bool) -> AsyncIterator[ArqRedis]:
    """A plain arq client whose first transaction gets no answer."""
    cuts = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cuts
        inward, outward = await asyncio.open_connection(server.address.host, server.address.port)
        while data := await reader.read(65_536):
            cut = b"PSETEX" in data.upper() and not cuts
            if not cut or late:
                outward.write(data)
                answer = await inward.read(65_536)
            if cut:
                cuts += 1
                break
            writer.write(answer)
        for each in (outward, writer):
            each.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = await create_pool(RedisSettings(host="127.0.0.1", port=proxy.sockets[0].getsockname()[1]))
    try:
        yield pool
        assert cuts == 1
    finally:
        await pool.aclose(close_connection_pool=True)
        proxy.close()
        await proxy.wait_closed()


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
