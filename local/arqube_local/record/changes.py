"""Being told by Redis which jobs were touched, whoever did it, without asking and without its configuration changed.

Protocol: client-side caching of Redis 6 and Valkey in broadcasting mode
(https://redis.io/docs/latest/develop/reference/client-side-caching/): the server names each key of a prefix that was
written, expired or deleted. Keys touched several times within one turn of its event loop are named once.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from arqube_queue import keys

ANSWER_TIMEOUT_S: Final = 5.0
KEEPALIVE_S: Final = 5.0
"""Silence after which the server is asked whether it is still there."""

_PREFIXES: Final = (keys.JOB_PREFIX.encode(), keys.IN_PROGRESS_PREFIX.encode())


class RefusedError(Exception):
    """The server does not tell of changes; the message says why."""


class Changes:
    """The jobs touched since one last looked; an async context manager with a connection of its own.

    Jobs of all queues of the server are named, as jobs' keys do not tell their queue.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection = _connection_beside(redis)
        self._touched: dict[bytes, None] = {}
        self._all = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Changes:
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
            await self._ask("HELLO", "3")
            # A subscriber that does not read is cut off by the server before its news fill the memory there.
            with contextlib.suppress(ResponseError):
                await self._ask("SUBSCRIBE", "arqube:record")
            prefixes = [word for prefix in _PREFIXES for word in ("PREFIX", prefix)]
            await self._ask("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        except (ResponseError, InvalidResponse) as error:
            await self._connection.disconnect()
            raise RefusedError(str(error)) from error
        except BaseException:
            await self._connection.disconnect()
            raise
        self._task = asyncio.create_task(self._read(), name="changes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._task.done():  # redis-py may swallow a cancellation
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1)
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect()

    async def wait(self, timeout_s: float) -> None:
        """Sleep until there is something to take, at most ``timeout_s`` seconds.

        Raises:
            redis.exceptions.RedisError, OSError: The connection was lost.
        """
        if self._task.done():
            self._task.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def take(self) -> tuple[list[bytes], bool]:
        """The ids of the jobs touched since the last call, and whether any may have been, as after a FLUSHALL."""
        touched, everything = list(self._touched), self._all
        self._touched.clear()
        self._all = False
        self._news.clear()
        return touched, everything

    async def _read(self) -> None:
        try:
            while True:
                message = await self._connection.read_response(timeout=KEEPALIVE_S)
                if message is None:
                    await self._connection.send_command("PING")
                    message = await self._connection.read_response(timeout=ANSWER_TIMEOUT_S)
                    if message is None:
                        raise TimeoutError
                if isinstance(message, list) and message[0] == b"invalidate":
                    self._note(message[1])
        finally:
            self._news.set()

    def _note(self, touched: list[bytes] | None) -> None:
        if touched is None:
            self._all = True
        for key in touched or ():
            for prefix in _PREFIXES:
                if key.startswith(prefix):
                    self._touched[key[len(prefix) :]] = None
        self._news.set()

    async def _ask(self, *command: str | bytes) -> Any:
        await self._connection.send_command(*command)
        answer = await self._connection.read_response(timeout=ANSWER_TIMEOUT_S)
        if answer is None:
            raise TimeoutError
        return answer


def _connection_beside(redis: Redis) -> AbstractConnection:
    """A connection to the same server, with the same TLS and credentials."""
    pool = redis.connection_pool
    omitted = {"retry", "retry_on_error", "retry_on_timeout"}
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in omitted}
    connection: AbstractConnection = pool.connection_class(
        **{**options, "socket_timeout": ANSWER_TIMEOUT_S, "health_check_interval": 0}
    )
    return connection
