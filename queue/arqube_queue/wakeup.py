"""Being told by Redis that a queue has changed, with producers that know nothing of it, instead of asking all the time.

Protocol: client-side caching of Redis 6 and Valkey (https://redis.io/docs/latest/develop/reference/client-side-caching/).
A connection with tracking on that reads a key is told once when that key changes. Reading it again arms it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from arqube_queue.answers import ODD_ANSWERS
from arqube_queue.held_connection import READS_FOR_A_TIME, connection_maker

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection  # absent from redis-py before 4.6, which images may hold

ANSWER_TIMEOUT_S: Final = 5.0
"""How long an answer may take before the connection is given up."""
KEEPALIVE_S: Final = 5.0
"""Silence after which the server is asked whether it is still there."""
REST_S: Final = 0.005
"""Least time between two wake-ups, so that a queue in full use costs 200 reads a second at most."""
FIRST_BACKOFF_S: Final = 0.05
LAST_BACKOFF_S: Final = 5.0
REFUSED_RETRY_S: Final = 60.0
"""When to ask again a server that does not offer tracking: it may be upgraded or its access rules changed."""

logger = logging.getLogger(__name__)


class _TrackingRefusedError(Exception):
    """The server is there but will not tell of changes, for the reason given."""


class Wakeup:
    """Tells when a queue changed; an async context manager with one connection of its own. One task may wait at a time.

    It never misses a change: the key is armed before ``wait`` returns True, so whoever looks at the queue after that
    either sees a change or is woken by it. It is armed for no one: while nobody waits, changes cost nothing.

    Args:
        make_connection: Makes a connection that is not open yet; called for each attempt.
        queue: Name of the queue, which is its key.
        on_change: Called ahead of each wake-up, while the key is being armed, for whoever wants to look at once. What
            it sees is no reason not to look again after the wake-up: another change may have come in between.

    Attributes:
        available: Whether changes are told at present. While False, ``wait`` is a plain sleep, so poll.
    """

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        queue: str,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.available = False
        self._on_change = on_change
        self._make_connection = make_connection
        self._queue = queue
        self._wanted = asyncio.Event()
        self._woken: asyncio.Future[None]
        self._refusal = ""

    @classmethod
    def beside(cls, redis: Redis, queue: str, on_change: Callable[[], None] = lambda: None) -> Wakeup:
        """A wake-up that reaches Redis as ``redis`` does (TLS, credentials, sentinels), which must outlive it."""
        return cls(connection_maker(redis, socket_timeout=ANSWER_TIMEOUT_S), queue, on_change)

    async def wait(self, timeout_s: float) -> bool:
        """Sleep until the queue changed since the last wake-up, or may have, at most ``timeout_s`` seconds.

        It may have when tracking began, also anew after a lost connection, and when it ended. Changes shortly after
        each other are one, whoever made them.

        Returns:
            Whether to look at the queue; False when the time is up.
        """
        if not self._woken.done():
            self._wanted.set()
            await asyncio.wait((self._woken,), timeout=timeout_s)
        if not self._woken.done():
            return False
        self._woken = asyncio.get_running_loop().create_future()
        return True

    async def __aenter__(self) -> Wakeup:
        self._woken = asyncio.get_running_loop().create_future()
        self._wanted.set()
        self._task = asyncio.create_task(self._keep_tracking())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._task.done():  # redis-py may swallow a cancellation
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1)

    def _wake(self) -> None:
        self._wanted.clear()
        if not self._woken.done():
            self._woken.set_result(None)

    async def _keep_tracking(self) -> None:
        """Track, over a new connection after each failure. Ended by cancellation."""
        loop = asyncio.get_running_loop()
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = loop.time()
            pause_s = None
            connection = self._make_connection()
            try:
                await self._track(connection)
            except _TrackingRefusedError as refusal:
                pause_s = REFUSED_RETRY_S
                self._log_refusal(str(refusal))
            except (RedisError, OSError, *ODD_ANSWERS):
                pass  # The worker's own calls fail as well, and tell.
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect()
                if self.available:
                    self.available = False
                    self._wake()  # whoever relies on being told must look by itself again
            if loop.time() - began > LAST_BACKOFF_S:  # it was up for a while
                backoff_s = FIRST_BACKOFF_S
            # Spread, as a restarted server sees all its workers again at once.
            await asyncio.sleep(pause_s or random.uniform(backoff_s / 2, backoff_s))  # noqa: S311
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)

    async def _track(self, connection: AbstractConnection) -> None:
        """Turn tracking on and wake whenever the queue changed, until the connection fails."""
        if not READS_FOR_A_TIME:
            raise _TrackingRefusedError("this redis-py cannot wait for them: upgrade it")
        loop = asyncio.get_running_loop()
        await connection.connect()  # type: ignore[no-untyped-call]
        # Not redis-py's ``protocol=3``: the connection opens as the app's does, so what fails from here on is tracking.
        await self._ask(connection, "HELLO", "3")
        await self._ask(connection, "CLIENT", "TRACKING", "ON")
        told, known = True, -1  # what happened before the connection is not known
        rested_at = loop.time()
        while True:
            if told:
                await self._wanted.wait()
                rest_s = rested_at - loop.time()
                if rest_s > 0:
                    await asyncio.sleep(rest_s)
                if self.available:
                    self._on_change()
            size, told_before = await self._ask(connection, "ZCARD", self._queue)
            if not self.available:
                self.available, self._refusal = True, ""
                logger.info("woken by Redis when the queue %s changes", self._queue)
            if told or told_before:
                self._wake()
                rested_at = loop.time() + REST_S
            elif size != known:
                raise _TrackingRefusedError("the queue changed and it was not told")
            known = size
            told = await connection.read_response(timeout=KEEPALIVE_S) is not None

    async def _ask(self, connection: AbstractConnection, *command: str) -> tuple[Any, bool]:
        """The answer to a command, and whether a change was told before it.

        Raises:
            _TrackingRefusedError: The server refuses the command.
            redis.exceptions.RedisError, OSError: No answer.
        """
        told = False
        try:
            await connection.send_command(*command)
            # A change is told by a list; none of the answers is one.
            while isinstance(answer := await connection.read_response(timeout=ANSWER_TIMEOUT_S), list):
                told = True
        except (ResponseError, InvalidResponse) as error:
            raise _TrackingRefusedError(f"{' '.join(command)}: {error}") from error
        if answer is None:
            raise TimeoutError
        return answer, told

    def _log_refusal(self, refusal: str) -> None:
        if refusal != self._refusal:
            self._refusal = refusal
            logger.warning("polling the queue %s, as Redis does not tell of its changes: %s", self._queue, refusal)
