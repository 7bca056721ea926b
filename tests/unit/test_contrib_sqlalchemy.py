"""Giving jobs sessions: which parameter takes it, what stays of a function and of settings, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from arq import cron, func
from arq.worker import Function
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from arqube_worker.contrib.parameters import session_parameter
from arqube_worker.contrib.sqlalchemy import Database

if TYPE_CHECKING:
    from somewhere import Thing
    from sqlalchemy.ext.asyncio import AsyncSession as TheirSession

FILE = "sqlite+aiosqlite:///app.db"
SESSION = object()


class OwnSession(AsyncSession):
    """As sqlmodel has one."""


async def first(ctx: Any, db: AsyncSession, a: int, b: int = 2) -> Any:
    return db, a, b


async def middle(ctx: Any, a: int, db: AsyncSession, b: int = 2) -> Any:
    return db, a, b


async def last(ctx: Any, a: int, b: int = 2, db: AsyncSession | None = None) -> Any:
    return db, a, b


async def by_name(ctx: Any, a: int, *, db: Annotated[AsyncSession, "Depends"], b: int = 2) -> Any:
    return db, a, b


async def by_position(ctx: Any, a: int, db: OwnSession, /, b: int = 2) -> Any:
    return db, a, b


async def beside_others(ctx: Any, db: AsyncSession, *a: int, **b: int) -> Any:
    return db, a[0], b.get("b", 2)


async def beside_unknown(ctx: Any, a: Thing, db: AsyncSession, b: int = 2) -> Any:
    return db, a, b


FUNCTIONS = [first, middle, last, by_name, by_position, beside_others, beside_unknown]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    ("args", "kwargs"), [((1, 3), {}), ((1,), {"b": 3})], ids=["by position", "the last by its name"]
)
async def test_a_session_is_put_where_it_is_asked_for_and_producers_do_not_see_it(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if function is beside_others and len(args) == 2:
        args, kwargs = args[:1], {"b": 3}
    if function is by_name:
        args, kwargs = args[:1], {"b": 3}
    parameter = session_parameter(function)
    assert parameter is not None
    filled_args, filled = parameter.fill(args, kwargs, SESSION)  # type: ignore[arg-type]
    assert await function({}, *filled_args, **filled) == (SESSION, 1, 3)


async def test_arguments_by_name_may_stand_before_the_session() -> None:
    parameter = session_parameter(middle)
    assert parameter is not None
    args, kwargs = parameter.fill((), {"a": 1}, SESSION)  # type: ignore[arg-type]
    assert await middle({}, *args, **kwargs) == (SESSION, 1, 2)


async def test_a_session_that_is_passed_by_name_is_taken_as_in_an_apps_own_tests() -> None:
    parameter = session_parameter(first)
    assert parameter is not None
    assert parameter.fill((1,), {"db": "theirs"}, SESSION) == ((1,), {"db": "theirs"})  # type: ignore[arg-type]


async def without(ctx: Any, a: int, session: str, *db: AsyncSession) -> None: ...


async def typed_for_checkers_alone(ctx: Any, db: TheirSession) -> None: ...


async def named_for_checkers_alone(ctx: Any, thing: Thing, db: sqlalchemy.AsyncSession) -> None: ...  # noqa: F821


async def two(ctx: Any, db: AsyncSession, other: AsyncSession) -> None: ...


def test_only_annotated_parameters_take_a_session() -> None:
    assert session_parameter(without) is None
    assert session_parameter(typed_for_checkers_alone) is None
    found = session_parameter(named_for_checkers_alone)
    assert found is not None
    assert (found.name, found.position) == ("db", 1)
    with pytest.raises(TypeError, match=r"two takes 2 sessions \(db, other\)"):
        session_parameter(two)


@pytest.fixture
def database() -> Database:
    return Database(FILE)


def test_a_function_keeps_its_name_and_what_is_attached_to_it(database: Database) -> None:
    async def send(ctx: Any, a: int) -> None:
        """Send it."""

    send.__arqube_retry_policy__ = "a policy"  # type: ignore[attr-defined]
    wrapped = database.job(send)
    assert (wrapped.__qualname__, wrapped.__doc__) == (send.__qualname__, "Send it.")
    assert wrapped.__arqube_retry_policy__ == "a policy"  # type: ignore[attr-defined]
    assert inspect.iscoroutinefunction(wrapped)
    assert database.job(wrapped) is wrapped, "a job has one session, however often it is asked for"


def test_options_of_functions_and_cron_jobs_stay(database: Database) -> None:
    original = func(first, name="one", timeout=7, keep_result=8, max_tries=9)
    ticking = cron(by_name, hour=3, timeout=5)
    settings = database.settings({"functions": [original, middle, "asyncio.sleep"], "cron_jobs": [ticking]})
    one, second, sleep = settings["functions"]
    assert isinstance(one, Function)
    assert (one.name, one.timeout_s, one.keep_result_s, one.max_tries) == ("one", 7, 8, 9)
    assert one.coroutine is not original.coroutine
    assert original.coroutine is first, "what the app has made is not changed"
    assert second.__qualname__ == "middle"
    assert sleep.name == "asyncio.sleep"
    (cron_job,) = settings["cron_jobs"]
    assert (cron_job.name, cron_job.timeout_s, cron_job.hour) == (ticking.name, 5, 3)
    assert cron_job.coroutine is not by_name


async def test_hooks_stay_and_settings_of_base_classes_count(database: Database) -> None:
    called = []

    async def start(ctx: Any) -> None:
        called.append("start")

    async def stop(ctx: Any) -> None:
        called.append("stop")
        raise LookupError

    class Base:
        functions = (first,)
        on_startup = start
        on_shutdown = stop

    @database.settings
    class WorkerSettings(Base):
        max_jobs = 3

    own: Any = vars(WorkerSettings)  # where plain arq looks
    assert [function.__qualname__ for function in own["functions"]] == ["first"]
    assert "cron_jobs" not in own
    await own["on_startup"]({})
    assert database.engine.sync_engine.pool.size() == 3  # type: ignore[attr-defined]
    with pytest.raises(LookupError):
        await own["on_shutdown"]({})
    assert called == ["start", "stop"]
    assert Base.functions == (first,)


@pytest.mark.parametrize(
    ("max_jobs", "concurrency", "size"),
    [
        pytest.param(None, None, 10, id="arq's default"),
        pytest.param(3, None, 3, id="max_jobs"),
        pytest.param(3, "40", 40, id="the TaskQueue's concurrency goes before"),
        pytest.param(3, "many", 3, id="what the worker refuses is not looked at"),
    ],
)
async def test_the_pool_fits_the_worker_that_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch, max_jobs: int | None, concurrency: str | None, size: int
) -> None:
    monkeypatch.delenv("ARQUBE_CONCURRENCY", raising=False)
    if concurrency is not None:
        monkeypatch.setenv("ARQUBE_CONCURRENCY", concurrency)
    settings = database.settings({"functions": [], **({} if max_jobs is None else {"max_jobs": max_jobs})})
    database.settings({"functions": [], "max_jobs": 99})  # another worker's, in the same image
    await settings["on_startup"]({})
    pool: Any = database.engine.sync_engine.pool
    assert (pool.size(), pool._max_overflow) == (size, 1)


async def test_own_options_and_engines_stay_and_a_small_pool_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for database in (
        Database(FILE, pool_size=2, max_overflow=0),
        Database(create_async_engine(FILE, pool_size=2, max_overflow=0)),
    ):
        assert database.engine.sync_engine.pool.size() == 2  # type: ignore[attr-defined]
        caplog.clear()
        await database.settings({"functions": [], "max_jobs": 2})["on_startup"]({})
        assert not caplog.records
        await database.settings({"functions": [], "max_jobs": 3})["on_startup"]({})
        assert "the pool of 2 connections is too small for 3 jobs" in caplog.text


async def test_a_database_in_memory_is_told_to_be_none_for_jobs(caplog: pytest.LogCaptureFixture) -> None:
    await Database("sqlite+aiosqlite://").settings({"functions": []})["on_startup"]({})
    assert "jobs at the same time share a transaction" in caplog.text


@pytest.mark.parametrize("make", [async_sessionmaker, sessionmaker])
async def test_an_apps_own_sessionmaker_makes_the_sessions(make: Any) -> None:
    engine = create_async_engine(FILE)
    database = Database(make(bind=engine, class_=OwnSession))
    assert database.engine is engine
    async with database.session() as session:
        assert isinstance(session, OwnSession)
    unbound = Database(make(class_=OwnSession))
    with pytest.raises(RuntimeError, match="not bound to one engine"):
        _ = unbound.engine
    await unbound.close()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Database("postgresql://user:pass@db/app"), ValueError, r"write for example postgresql\+asyncpg"),
        (lambda: Database(7), TypeError, "source must be a URL, an AsyncEngine or a sessionmaker, not int"),
        (lambda: Database(create_async_engine(FILE), pool_size=3), TypeError, "pool_size: options are for a URL"),
        (lambda: Database(FILE).settings(7), TypeError, "settings must be a class or a dict, not int"),
        (lambda: Database(FILE).settings({"functions": [two]}), TypeError, "two takes 2 sessions"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert "pass" not in str(caught.value)


async def test_a_session_of_the_apps_startup_comes_back_after_the_job(database: Database) -> None:
    @database.job
    async def job(ctx: dict[str, Any]) -> bool:
        return isinstance(ctx["db"], AsyncSession)

    ctx = {"db": "shared"}
    assert await job(ctx)
    assert ctx == {"db": "shared"}


async def test_a_job_that_is_dropped_with_its_loop_awaits_nothing(database: Database) -> None:
    @database.job
    async def job(ctx: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    running = job({})
    running.send(None)
    running.close()
