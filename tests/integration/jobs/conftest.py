"""A plain arq client of the tests' queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from builders.jobs import QUEUE


@pytest_asyncio.fixture
async def client(redis: Redis, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client."""
    address = redis_server.address
    pool = await create_pool(RedisSettings(host=address.host, port=address.port), default_queue_name=QUEUE)
    yield pool
    await pool.aclose(close_connection_pool=True)
