"""Breaks a relay at each point where it could die: before and after each command to Redis and to the database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class Crash(BaseException):
    """The relay's process ends here: nothing of it catches this."""


class Faults:
    """Counts the points that a relay passes, and crashes it at one of them.

    Attributes:
        passed: What was passed, in order, as ``before``/``after`` and what it did there.
        crash_at: Index of the point at which it crashes; None for none.
    """

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.crash_at: int | None = None

    def point(self, name: str) -> None:
        self.passed.append(name)
        if self.crash_at == len(self.passed) - 1:
            raise Crash(name)

    @contextlib.contextmanager
    def within(self, engine: AsyncEngine) -> Iterator[None]:
        """Let each statement and commit of ``engine`` pass points: an answer may be lost after the work is done."""
        sync = engine.sync_engine
        dialect: Any = sync.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            self.point("before commit")
            commit(connection)
            self.point("after commit")

        def before(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            self.point(f"before {statement.split()[0]}")

        def after(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            self.point(f"after {statement.split()[0]}")

        event.listen(sync, "before_cursor_execute", before)
        event.listen(sync, "after_cursor_execute", after)
        dialect.do_commit = do_commit
        try:
            yield
        finally:
            event.remove(sync, "before_cursor_execute", before)
            event.remove(sync, "after_cursor_execute", after)
            dialect.do_commit = commit

    def client(self, redis: Redis) -> Redis:
        """A client of the same server that passes points before and after each command, a pipeline being one."""
        faults = self

        class FaultyPipeline(Pipeline):
            async def execute(self, *args: Any, **kwargs: Any) -> Any:
                faults.point("before pipeline")
                answer = await super().execute(*args, **kwargs)
                faults.point("after pipeline")
                return answer

        class FaultyRedis(Redis):
            async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
                faults.point(f"before {args[0]}")
                answer = await super().execute_command(*args, **kwargs)
                faults.point(f"after {args[0]}")
                return answer

            def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
                return FaultyPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

        return FaultyRedis(connection_pool=redis.connection_pool)
