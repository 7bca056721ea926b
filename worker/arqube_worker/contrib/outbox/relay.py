"""Moves the jobs of an outbox into Redis, each once whatever breaks meanwhile.

A row goes through three steps, and each may be repeated after a crash before the next:

1. ``move``: its job is put into its queue, and its token is remembered by Redis, in one script.
2. ``move``: the row is marked as moved, and committed. A relay that dies before that leaves a row that is moved again,
   which does nothing, as Redis knows its token.
3. ``settle``: it is deleted when Redis still knows its token after ``settle_s``, and Redis forgets the token then. If
   Redis does not know it, it has lost what it was told, and the row goes back to step 1.

A relay that hangs with rows in its hands, while the database has given up its lock on them, must not put a job into its
queue after another relay has come to step 3: so it may do so for ``settle_s`` only, counted from before it read them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, Row, delete, false, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import StaticPool

from arqube_queue import answers
from arqube_queue import outbox as moves
from arqube_queue.outbox import Entry
from arqube_worker.contrib.outbox.table import Outbox

ANSWER_TIMEOUT_S: Final = 5.0
"""How long Redis may take for an answer; the pools that arq makes would wait for ever."""
REST_S: Final = 0.05
"""Least time between two looks: jobs that are committed in quick succession are moved together, at less cost."""
FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 5.0

Value = TypeVar("Value")

logger = logging.getLogger(__name__)


class Relay:
    """Moves what was committed into Redis. Several may run at once, in as many processes.

    An async context manager that runs it in the background, for the lifespan of an app; or ``await relay.run()``.

    Args:
        outbox: What it empties.
        engine: Where the outbox's table is.
        redis: Where the queues are: the pool by which the app reads results, or any client of redis-py.
        poll_s: How often it looks, in seconds, when no commit of this process wakes it.
        settle_s: How long, in seconds, a row is kept after it was moved. Redis may forget what it was told within this
            time, as by a crash with ``appendfsync everysec``: then the job is moved anew.
        batch_size: How many jobs are moved at once.

    Raises:
        ValueError: The engine has one connection for all, as that of SQLite in memory: transactions would be mixed.
    """

    def __init__(
        self,
        outbox: Outbox,
        engine: AsyncEngine,
        redis: Redis,
        *,
        poll_s: float = 1.0,
        settle_s: float = 30.0,
        batch_size: int = 100,
    ) -> None:
        if isinstance(engine.sync_engine.pool, StaticPool):
            raise ValueError("engine: a database in memory has one connection for all, so use a file: sqlite:///app.db")
        self._outbox = outbox
        self._table = outbox.table
        self._engine = engine
        self._redis = redis
        self._poll_s = poll_s
        self._settle_ms = int(settle_s * 1000)
        self._batch_size = batch_size
        self._failing = False
        self._refused: set[str] = set()
        self._told: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Move jobs until cancelled. A database or Redis that is away is waited for."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

        backoff_s, settle_at = FIRST_BACKOFF_S, loop.time()
        with self._outbox.listening(wake):
            while True:
                woken.clear()
                more = False
                try:
                    more = await self.move() == self._batch_size or bool(self._refused)
                    if loop.time() >= settle_at:
                        if await self.settle() == self._batch_size:
                            more = True
                        else:
                            settle_at = loop.time() + self._poll_s
                except Exception as error:  # Drivers raise what they like, and no failure is to end the relay.
                    self._tell(error)
                    await asyncio.sleep(random.uniform(backoff_s / 2, backoff_s))  # noqa: S311
                    backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
                else:
                    self._tell(None)
                    backoff_s = FIRST_BACKOFF_S
                    if more:
                        continue
                    await asyncio.sleep(REST_S)
                    waiting = asyncio.ensure_future(woken.wait())
                    try:
                        await asyncio.wait((waiting,), timeout=self._poll_s)
                    finally:
                        waiting.cancel()

    async def move(self) -> int:
        """Move what is committed now, one batch of it at most.

        A queue that cannot be written, as its name is that of another thing in Redis, is told in the log. Its jobs
        stay, and are tried again once those of the others are moved.

        Returns:
            How many rows were moved.

        Raises:
            Exception: The database or Redis failed. All, some or none of the jobs are in Redis; move them again.
        """
        until_ms = await self._answer(answers.now_ms(self._redis)) + self._settle_ms
        async with self._engine.connect() as connection:
            columns = self._table.c
            rows = await self._take(
                connection, columns.moved_ms.is_(None) & columns.queue_name.not_in(list(self._refused))
            )
            if len(rows) < self._batch_size:  # All were looked at.
                self._refused.clear()
            if not rows:
                return 0
            entries = [
                Entry(row.token, row.job_id, row.queue_name, row.payload, row.due_ms, row.expires_ms) for row in rows
            ]
            now_ms, refusals = await self._answer(
                moves.move(self._redis, entries, until_ms=until_ms, life_ms=self._outbox.expires_extra_ms)
            )
            moved = [row.id for row, refusal in zip(rows, refusals, strict=True) if not refusal]
            await self._mark(connection, moved, now_ms)
            await connection.commit()
        for row, refusal in zip(rows, refusals, strict=True):
            if refusal:
                self._refuse(row.queue_name, refusal, full=len(rows) == self._batch_size)
        return len(moved)

    async def settle(self) -> int:
        """Delete rows that were moved long enough ago, one batch of them at most.

        Returns:
            How many rows were dealt with, those included which Redis has lost and which are to be moved again.

        Raises:
            Exception: The database or Redis failed; settle them again.
        """
        now_ms = await self._answer(answers.now_ms(self._redis))
        async with self._engine.connect() as connection:
            rows = await self._take(connection, self._table.c.moved_ms <= now_ms - self._settle_ms)
            if not rows:
                return 0
            known = await self._answer(moves.remembered(self._redis, [row.token for row in rows]))
            gone = [row for row, is_known in zip(rows, known, strict=True) if is_known]
            lost = [row.id for row, is_known in zip(rows, known, strict=True) if not is_known]
            if lost:
                logger.warning("Redis has lost %d jobs that were moved there; they are moved again", len(lost))
                await self._mark(connection, lost, None)
            if gone:
                await connection.execute(delete(self._table).where(self._table.c.id.in_([row.id for row in gone])))
            await connection.commit()
        if gone:
            await self._answer(moves.forget(self._redis, [row.token for row in gone]))
        if len(rows) < self._batch_size:
            await self._answer(moves.forget_old(self._redis, now_ms=now_ms))
        return len(rows)

    async def close(self) -> None:
        """Close the engine's and the client's connections, where they serve nothing else."""
        await self._engine.dispose()
        await self._redis.connection_pool.disconnect()

    async def __aenter__(self) -> Relay:
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._task is not None and not self._task.done():  # redis-py may swallow a cancellation
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1)

    async def _take(self, connection: AsyncConnection, which: ColumnElement[bool]) -> list[Row[Any]]:
        """The first rows that are so and that no other relay has; ours until the transaction ends."""
        table = self._table
        query = select(table).where(which).order_by(table.c.id).limit(self._batch_size)
        if connection.dialect.name != "sqlite":
            return list(await connection.execute(query.with_for_update(skip_locked=True)))
        # SQLite locks no rows: one relay after the other, by a write that changes nothing. It would hold up the app's
        # writers each second, so only where there is something to do.
        if not list(await connection.execute(query.limit(1))):
            return []
        await connection.rollback()
        await connection.execute(update(table).where(false()).values(moved_ms=None))
        return list(await connection.execute(query))

    async def _mark(self, connection: AsyncConnection, ids: list[int], moved_ms: int | None) -> None:
        await connection.execute(update(self._table).where(self._table.c.id.in_(ids)).values(moved_ms=moved_ms))

    async def _answer(self, question: Awaitable[Value]) -> Value:
        return await asyncio.wait_for(question, ANSWER_TIMEOUT_S)

    def _tell(self, error: Exception | None) -> None:
        """Log when it begins to fail and when it goes on again. Texts of errors may hold a job's arguments."""
        if error is not None and not self._failing:
            logger.warning("the outbox waits, and is tried again: %s", type(error).__name__)
        elif error is None and self._failing:
            logger.info("the outbox is moved again")
        self._failing = error is not None

    def _refuse(self, queue: str, why: str, *, full: bool) -> None:
        """Tell of a queue, and leave it out of the next batch where its jobs may hold up others behind them."""
        if full:
            self._refused.add(queue)
        if queue not in self._told:
            self._told.add(queue)
            logger.error("Redis takes no jobs into the queue %r, they wait in the outbox: %s", queue, why)
