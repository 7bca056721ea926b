"""Connects to Redis: once for the worker's own calls, which must not wait for ever, and once for the jobs' ``ctx``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from arq.connections import ArqRedis, RedisSettings, create_pool

from arqube_queue.answers import invalid_if_odd
from arqube_queue.connection import RedisAddress

ANSWER_TIMEOUT_S: Final = 5.0
"""How long the worker's own calls wait for an answer: arq waits for ever, also for a server that is gone."""


async def open_pool(source: RedisSettings | RedisAddress, *, own: bool, **options: Any) -> ArqRedis:
    """A pool that has been answered once.

    Args:
        source: Where Redis is.
        own: For the worker's own calls. The other pool is the app's, which may block in Redis as long as it likes.
        options: arq's: serializers, default queue, ``expires_extra_ms``.

    Raises:
        redis.exceptions.RedisError, OSError: No answer, or none that Redis gives.
    """
    with invalid_if_odd():
        return await _open_pool(source, own=own, **options)


async def _open_pool(source: RedisSettings | RedisAddress, *, own: bool, **options: Any) -> ArqRedis:
    timeout_s = ANSWER_TIMEOUT_S if own else None
    if isinstance(source, RedisAddress):
        pool = ArqRedis(source.connect(socket_timeout=timeout_s).connection_pool, **options)
        try:
            await pool.ping()
        except BaseException:
            await pool.connection_pool.disconnect()
            raise
        return pool
    # The worker tries again by itself, with backoff, unready meanwhile.
    pool = await create_pool(replace(source, conn_retries=0), **options)
    if own:
        pool.connection_pool.connection_kwargs["socket_timeout"] = timeout_s
        await pool.connection_pool.disconnect()
    return pool


def label(source: RedisSettings | RedisAddress) -> str:
    """Where Redis is, for people: no user, no password."""
    if isinstance(source, RedisAddress):
        return source.label
    if source.unix_socket_path:
        return f"{source.unix_socket_path}/{source.database}"
    if isinstance(source.host, str):
        return f"{source.host}:{source.port}/{source.database}"
    hosts = ",".join(f"{host}:{port}" for host, port in source.host)
    return f"{source.sentinel_master}@{hosts}/{source.database}"
