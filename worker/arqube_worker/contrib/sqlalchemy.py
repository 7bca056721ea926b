"""One SQLAlchemy session a job: committed when the job succeeds, rolled back when it does not, closed in any case.

In the module of the worker's settings::

    database = Database("postgresql+asyncpg://db/app")

    async def charge(ctx, order_id: int, db: AsyncSession):
        ...

    @database.settings
    class WorkerSettings:
        functions = [charge]

Producers call ``enqueue_job("charge", 7)`` as ever. It works under arqube-worker and under plain arq.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeVar

from arq.worker import func
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import QueuePool, StaticPool

from arqube_queue import environment as env
from arqube_worker.contrib.parameters import session_parameter

CONTEXT_KEY: Final = "db"
"""Where a job finds its session in ``ctx``."""
DEFAULT_MAX_JOBS: Final = 10
"""arq's."""
SPARE_CONNECTIONS: Final = 1
"""Beyond one a job, for what runs beside the jobs, such as the relay of an outbox."""
GRACE_S: Final = 2.0
"""How long a commit that was cancelled may go on, and how long a rollback may take, before the connection is cut."""

Source = str | URL | AsyncEngine | async_sessionmaker[Any] | sessionmaker[Any]
Job = TypeVar("Job", bound=Callable[..., Coroutine[Any, Any, Any]])
Settings = TypeVar("Settings")

_DATABASE: Final = "__arqube_database__"
_ABSENT: Final = object()

logger = logging.getLogger(__name__)


class Database:
    """Gives each job a session of its own. Make it once, where the settings are; it connects at the first use.

    Args:
        source: The URL of a database with an async driver, for which an engine is made whose pool fits the worker's
            concurrency; or the app's own engine or sessionmaker, which stays as it is.
        engine_options: Further arguments of ``create_async_engine``, for a URL only. They go before our own.

    Raises:
        ValueError: The URL names no async driver.
        TypeError: ``source`` is of another kind, or there are options for an engine that is made already.
    """

    def __init__(self, source: Source, **engine_options: Any) -> None:
        self._url: URL | None = None
        self._engine: AsyncEngine | None = None
        self._sessions: Callable[[], AsyncSession] | None = None
        self._options = engine_options
        self._slots: int | None = None
        if isinstance(source, (str, URL)):
            self._url = _async_url(make_url(source))
            return
        if engine_options:
            raise TypeError(f"{', '.join(engine_options)}: options are for a URL, this engine is made already")
        if isinstance(source, AsyncEngine):
            self._engine = source
        elif isinstance(source, (async_sessionmaker, sessionmaker)):
            self._sessions = source
            self._engine = source.kw.get("bind")
        else:
            raise TypeError(f"source must be a URL, an AsyncEngine or a sessionmaker, not {type(source).__name__}")

    @property
    def engine(self) -> AsyncEngine:
        """The engine behind the sessions.

        Raises:
            RuntimeError: The app's sessionmaker has no engine, or several.
        """
        if self._engine is None:
            if self._url is None:
                raise RuntimeError("the sessionmaker that was given is not bound to one engine")
            self._engine = create_async_engine(self._url, **self._pool_options(self._url), **self._options)
        return self._engine

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session for one piece of work: committed at its end, rolled back on any exception, closed in any case.

        It is what each job has. Outside of jobs it serves as well, as in a dependency of FastAPI.
        """
        if self._sessions is None:
            self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        session = self._sessions()
        try:
            yield session
            if session.in_transaction():  # else it was not used since it was committed, as by jobs that need none
                await _carry_through(session.commit())
        except GeneratorExit:  # The loop is being closed over it: nothing can be awaited any more.
            raise
        except BaseException:
            await _release(session, _roll_back_and_close(session))
            raise
        if session.in_transaction():
            await _release(session, session.close())
        else:
            await session.close()  # It has no connection to give back, so nothing is waited for.

    def job(self, function: Job) -> Job:
        """A decorator of one job function: what ``settings`` does with each.

        The function finds the session as ``ctx["db"]``, and in the parameter annotated as ``AsyncSession``, if there
        is one. Names, attributes and what producers pass stay as they are.

        Raises:
            TypeError: It takes more than one session.
        """
        if getattr(function, _DATABASE, None) is self:
            return function
        parameter = session_parameter(function)

        @functools.wraps(function)
        async def with_session(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Any:
            async with self.session() as session:
                filled: Mapping[str, Any] = kwargs
                if parameter is not None:
                    args, filled = parameter.fill(args, kwargs, session)
                shared = ctx.get(CONTEXT_KEY, _ABSENT)
                ctx[CONTEXT_KEY] = session
                try:
                    return await function(ctx, *args, **filled)
                finally:  # Hooks that come after the job must not work with a session that is closed.
                    if shared is _ABSENT:
                        del ctx[CONTEXT_KEY]
                    else:
                        ctx[CONTEXT_KEY] = shared

        setattr(with_session, _DATABASE, self)
        return with_session  # type: ignore[return-value]

    def settings(self, settings: Settings) -> Settings:
        """A decorator of a ``WorkerSettings``: all its functions and cron jobs run with a session.

        Its hooks stay; the pool is sized before ``on_startup`` and closed after ``on_shutdown``.

        Args:
            settings: A class or a dict, which is changed and returned.

        Raises:
            TypeError: It is neither, or a function takes more than one session.
        """
        if not isinstance(settings, (type, dict)):
            raise TypeError(f"settings must be a class or a dict, not {type(settings).__name__}")
        found = settings.get if isinstance(settings, dict) else functools.partial(_attribute, settings)
        changes: dict[str, Any] = {
            name: [self._with_sessions(each) for each in jobs]
            for name in ("functions", "cron_jobs")
            if (jobs := _jobs(found(name))) is not None
        }
        on_startup, on_shutdown = found("on_startup"), found("on_shutdown")
        max_jobs = found("max_jobs")

        async def start_up(ctx: dict[Any, Any]) -> None:
            self._fit(_slots(os.environ, max_jobs))
            if on_startup is not None:
                await on_startup(ctx)

        async def shut_down(ctx: dict[Any, Any]) -> None:
            try:
                if on_shutdown is not None:
                    await on_shutdown(ctx)
            finally:
                await self.close()

        changes.update(on_startup=start_up, on_shutdown=shut_down)
        if isinstance(settings, dict):
            settings.update(changes)
        else:
            for name, value in changes.items():  # on the class itself: plain arq does not look into base classes
                setattr(settings, name, value)
        return settings

    async def close(self) -> None:
        """Close the connections of the pool; a later use opens new ones."""
        if self._engine is not None:
            await self._engine.dispose()

    def _with_sessions(self, function: Any) -> Any:
        if isinstance(function, str):
            function = func(function)
        if inspect.iscoroutinefunction(function):
            return self.job(function)
        if not hasattr(function, "coroutine"):
            return function  # arq refuses it, and says why
        changed = copy.copy(function)
        changed.coroutine = self.job(function.coroutine)
        return changed

    def _fit(self, slots: int) -> None:
        """Let the pool have a connection for each of ``slots`` jobs; one that is made already can only be looked at."""
        self._slots = slots
        pool = None if self._engine is None and self._url is None else self.engine.sync_engine.pool
        if isinstance(pool, StaticPool):
            logger.warning(
                "a database in memory has one connection, so jobs at the same time share a transaction: use a file"
            )
        elif isinstance(pool, QueuePool):
            overflow = getattr(pool, "_max_overflow", 0)
            if overflow >= 0 and pool.size() + overflow < slots:
                logger.warning(
                    "the pool of %d connections is too small for %d jobs at once, some will wait: "
                    "raise pool_size of the engine, or lower the concurrency",
                    pool.size() + overflow,
                    slots,
                )

    def _pool_options(self, url: URL) -> dict[str, Any]:
        dialect: Any = url.get_dialect()
        pool_class = self._options.get("poolclass") or dialect.get_pool_class(url)
        if not issubclass(pool_class, QueuePool):  # SQLite in memory has one connection
            return {}
        options: dict[str, Any] = {"pool_pre_ping": True}
        if self._slots is not None:
            options.update(pool_size=self._slots, max_overflow=SPARE_CONNECTIONS)
        return {name: value for name, value in options.items() if name not in self._options}


def _async_url(url: URL) -> URL:
    if not url.get_dialect().is_async:
        raise ValueError(
            f"the database URL names {url.drivername!r}, which has no async driver: "
            "write for example postgresql+asyncpg:// or sqlite+aiosqlite://"
        )
    return url


def _attribute(settings: type, name: str) -> Any:
    return getattr(settings, name, None)


def _jobs(jobs: Iterable[Any] | None) -> list[Any] | None:
    return None if jobs is None else list(jobs)


def _slots(environ: Mapping[str, str], max_jobs: int | None) -> int:
    """How many jobs the worker runs at once; what is wrong in the variable, the worker itself refuses."""
    concurrency = environ.get(env.CONCURRENCY, "")
    if concurrency.isdecimal() and int(concurrency) > 0:
        return int(concurrency)
    return DEFAULT_MAX_JOBS if max_jobs is None else max_jobs


async def _carry_through(operation: Awaitable[None]) -> None:
    """Await a commit. If we are cancelled it may end nevertheless, and the cancellation is forgotten once it has.

    Nobody knows the outcome of a commit that was cut short, and the job would run again after it has succeeded.
    """
    task = asyncio.ensure_future(operation)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await _finish(task)
        if not task.done() or task.cancelled():
            raise
    task.result()


async def _release(session: AsyncSession, operation: Awaitable[None]) -> None:
    """Await what gives the connection back, whatever cancels us meanwhile. Its errors are told and go no further."""
    task = asyncio.ensure_future(operation)
    await _finish(task)
    if task.done() and not task.cancelled() and (error := task.exception()) is None:
        return
    why = type(error).__name__ if task.done() and not task.cancelled() else f"it took longer than {GRACE_S} s"
    logger.warning("closing a session failed, its connection is dropped: %s", why)
    last = asyncio.ensure_future(session.invalidate())
    await _finish(last)
    if last.done() and not last.cancelled():
        last.exception()  # There is nothing else that could be tried.


async def _finish(task: asyncio.Future[None]) -> None:
    """Wait for its end for ``GRACE_S``, then as long for the end of its cancellation, which cuts the connection."""
    await _wait(task)
    if not task.done():
        task.cancel()
        await _wait(task)


async def _wait(task: asyncio.Future[None]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GRACE_S
    while not task.done() and (left_s := deadline - loop.time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((task,), timeout=left_s)


async def _roll_back_and_close(session: AsyncSession) -> None:
    try:
        await session.rollback()
    except Exception as error:  # The connection is gone, most likely, and the transaction with it.
        logger.warning("a rollback failed: %s", type(error).__name__)
    finally:
        await session.close()
