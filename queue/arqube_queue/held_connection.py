"""One connection to Redis that is held for good, for calls that follow each other closely and must cost little."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection  # absent from redis-py before 4.6, which images may hold

try:
    import hiredis
except ImportError:
    _pack = None
else:
    _pack = getattr(hiredis, "pack_command", None)  # absent before 2.1

READS_FOR_A_TIME: Final = "timeout" in inspect.signature(Connection.read_response).parameters
"""Whether a read of redis-py may end for want of an answer and leave the connection be: not before 4.4."""

ANSWER_TIMEOUT_S: Final = 5.0
"""How long a connection, a request's way out and an answer may take each."""
SILENCE_S: Final = 10.0
"""Unused for longer than this, it is opened anew: what stands between may have dropped it without a word."""
SMALL: Final = 32 * 1024
"""Bytes that the event loop takes without making the sender wait, as the one before was answered."""


def connection_maker(redis: Redis, **options: Any) -> Callable[[], AbstractConnection]:
    """Makes connections that reach Redis as ``redis`` does (TLS, credentials, sentinels), which must outlive them.

    They are not open yet, and try once: whoever uses them tries again.

    Args:
        redis: The client.
        options: Keyword arguments of redis-py's ``Connection`` that differ.
    """
    pool = redis.connection_pool
    omitted = {"retry", "retry_on_error", "retry_on_timeout"}

    def make_connection() -> AbstractConnection:
        ours = {name: value for name, value in pool.connection_kwargs.items() if name not in omitted}
        ours |= {"health_check_interval": 0, **options}
        if ours.get("socket_connect_timeout") is None:
            ours["socket_connect_timeout"] = ANSWER_TIMEOUT_S
        return pool.connection_class(**ours)

    return make_connection


class HeldConnection:
    """``Redis.execute_command`` for one task, less what that costs a call.

    redis-py asks a pooled connection before each command whether it has gone bad, by a read that times out at once, and
    sends in a task of its own to be able to time out: four turns of the event loop. Its packing of commands in Python
    is slow as well. Here a connection that has gone bad is told by the command that fails.
    """

    def __init__(self, redis: Redis) -> None:
        timeout_s = None if READS_FOR_A_TIME else ANSWER_TIMEOUT_S
        self._connection = connection_maker(redis, socket_timeout=timeout_s, decode_responses=False)()
        self._used_at = 0.0

    async def execute_command(self, *command: str | bytes | int) -> Any:
        """The answer to a command whose answer is never nil.

        Raises:
            redis.exceptions.RedisError, OSError, TimeoutError: No answer, or a refusal. Unless refused, it may have
                been done. The next call connects anew.
        """
        await self._send([command])
        connection = self._connection
        reading = connection.read_response(timeout=ANSWER_TIMEOUT_S) if READS_FOR_A_TIME else connection.read_response()
        answer = await reading
        if answer is None:
            await connection.disconnect()
            raise TimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
        self._used_at = time.monotonic()
        return answer

    async def execute_commands(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """The answers to commands that are sent at once, in order; a refusal stands in the place of its answer.

        It takes as long as Redis does: the caller sets an end.

        Raises:
            redis.exceptions.RedisError, OSError, TimeoutError: Answers are missing. The next call connects anew.
        """
        answers: list[Any] = []
        try:
            await self._send(commands)
            for _ in commands:
                try:
                    answers.append(await self._connection.read_response())
                except ResponseError as refusal:
                    answers.append(refusal)
        except BaseException:
            # Answers that come later would be taken for those to the next commands.
            await self._connection.disconnect(nowait=True)
            raise
        self._used_at = time.monotonic()
        return answers

    async def _send(self, commands: Sequence[Sequence[str | bytes | int]]) -> None:
        connection = self._connection
        if time.monotonic() - self._used_at > SILENCE_S:
            await connection.disconnect()
        if not connection.is_connected:
            await connection.connect()  # type: ignore[no-untyped-call]
        if _pack is None:
            packed = connection.pack_commands(commands)
        else:
            packed = [b"".join([_pack(tuple(command)) for command in commands])]
        sending = connection.send_packed_command(packed, check_health=False)
        if sum(map(len, packed)) <= SMALL:
            await sending
        else:
            await asyncio.wait_for(sending, ANSWER_TIMEOUT_S)

    async def disconnect(self) -> None:
        """Close it; the next call opens it anew, at the master of the day."""
        await self._connection.disconnect()
