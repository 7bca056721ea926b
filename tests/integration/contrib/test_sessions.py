"""One session a job: what becomes of its work, and of its connection, however the job ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from arq import Retry
from arq.worker import RetryJob
from fastcrud import FastCRUD
from pydantic import BaseModel
from sqlalchemy import Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from arqube_worker.contrib import sqlalchemy as contrib
from arqube_worker.contrib.sqlalchemy import Database

Job = Callable[[AsyncSession], Awaitable[Any]]
ENOUGH_S = 60.0


class JobError(Exception):
    """What jobs fail with here."""


async def names(database: Database, users: Table) -> list[str]:
    async with database.engine.connect() as connection:
        return list(await connection.scalars(select(users.c.name).order_by(users.c.name)))


def borrowed(database: Database) -> int:
    """Connections that are not back in the pool."""
    pool: Any = database.engine.sync_engine.pool
    return int(pool.checkedout())


def adding(database: Database, users: Table, name: str, then: Job) -> Callable[[dict[str, Any]], Awaitable[Any]]:
    """A job that adds a user, and then does something with its session."""

    @database.job
    async def job(ctx: dict[str, Any]) -> Any:
        await ctx["db"].execute(insert(users).values(name=name))
        return await then(ctx["db"])

    return job


async def nothing(_session: AsyncSession) -> str:
    return "done"


def raising(error: BaseException) -> Job:
    async def raise_it(_session: AsyncSession) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("then", "raised", "kept"),
    [
        pytest.param(nothing, None, ["ada"], id="success commits"),
        pytest.param(raising(JobError()), JobError, [], id="an exception rolls back"),
        pytest.param(raising(Retry(defer=1)), Retry, [], id="Retry rolls back"),
        pytest.param(raising(RetryJob()), RetryJob, [], id="RetryJob rolls back"),
        pytest.param(raising(asyncio.CancelledError()), asyncio.CancelledError, [], id="a cancellation rolls back"),
        pytest.param(raising(SystemExit(3)), SystemExit, [], id="even SystemExit rolls back"),
        pytest.param(lambda session: session.commit(), None, ["ada"], id="what the job commits itself is committed"),
        pytest.param(lambda session: session.rollback(), None, [], id="what the job rolls back itself is not"),
    ],
)
async def test_the_end_of_a_job_is_the_end_of_its_transaction(
    database: Database, users: Table, then: Job, raised: Any, kept: list[str]
) -> None:
    job = adding(database, users, "ada", then)
    if raised is None:
        await job({})
    else:
        with pytest.raises(raised):
            await job({})
    assert await names(database, users) == kept
    assert borrowed(database) == 0


class Interrupted:
    """Holds up one method of a session until it is let go, and then does what it did before, or fails."""

    def __init__(self, method: str, *, error: Exception | None = None) -> None:
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()
        self._method, self._error = method, error

    async def __call__(self, session: AsyncSession) -> str:
        original = getattr(session, self._method)

        async def held() -> None:
            self.reached.set()
            await self.let_go.wait()
            if self._error is not None:
                raise self._error
            await original()

        setattr(session, self._method, held)
        return "done"


async def test_a_commit_that_fails_is_the_jobs_failure(database: Database, users: Table) -> None:
    commit = Interrupted("commit", error=ConnectionResetError())
    commit.let_go.set()
    with pytest.raises(ConnectionResetError):
        await adding(database, users, "ada", commit)({})
    assert await names(database, users) == []
    assert borrowed(database) == 0


async def test_a_cancellation_during_the_commit_comes_too_late(database: Database, users: Table) -> None:
    commit = Interrupted("commit")
    job = asyncio.ensure_future(adding(database, users, "ada", commit)({}))
    await asyncio.wait_for(commit.reached.wait(), ENOUGH_S)
    job.cancel()
    asyncio.get_running_loop().call_soon(commit.let_go.set)
    assert await job == "done"
    assert await names(database, users) == ["ada"]
    assert borrowed(database) == 0


async def test_a_commit_that_hangs_ends_some_time_after_its_cancellation(
    database: Database, users: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrib, "GRACE_S", 0.3)
    commit = Interrupted("commit")
    job = asyncio.ensure_future(adding(database, users, "ada", commit)({}))
    await asyncio.wait_for(commit.reached.wait(), ENOUGH_S)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(job, ENOUGH_S)
    monkeypatch.undo()
    assert await names(database, users) == []
    assert borrowed(database) == 0


@pytest.mark.parametrize("method", ["rollback", "close"])
async def test_the_connection_comes_back_though_the_end_is_cancelled_again_and_again(
    database: Database, users: Table, method: str
) -> None:
    end = Interrupted(method)

    async def fail(session: AsyncSession) -> None:
        await end(session)
        raise JobError

    job = asyncio.ensure_future(adding(database, users, "ada", fail)({}))
    await asyncio.wait_for(end.reached.wait(), ENOUGH_S)
    for _ in range(3):
        job.cancel()
        await asyncio.sleep(0)
    end.let_go.set()
    with pytest.raises(JobError):
        await job
    assert await names(database, users) == []
    assert borrowed(database) == 0


@pytest.mark.parametrize("method", ["rollback", "close"])
async def test_an_end_that_hangs_is_cut_short(
    database: Database, users: Table, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrib, "GRACE_S", 0.3)
    end = Interrupted(method)

    async def fail(session: AsyncSession) -> None:
        await end(session)
        raise JobError

    with pytest.raises(JobError):
        await asyncio.wait_for(adding(database, users, "ada", fail)({}), ENOUGH_S)
    assert end.reached.is_set()
    assert borrowed(database) == 0


async def test_the_session_is_closed_though_the_rollback_fails(database: Database, users: Table) -> None:
    rollback = Interrupted("rollback", error=ConnectionResetError())
    rollback.let_go.set()

    async def fail(session: AsyncSession) -> None:
        await rollback(session)
        raise JobError

    with pytest.raises(JobError):
        await adding(database, users, "ada", fail)({})
    assert await names(database, users) == []
    assert borrowed(database) == 0


BUSY = {
    "postgresql": "SELECT pg_sleep(60)",
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000) SELECT max(x) FROM n",
}


async def test_a_job_that_is_cancelled_while_the_database_works_gives_its_connection_back(
    database: Database, users: Table
) -> None:
    at_work = asyncio.Event()

    async def work(session: AsyncSession) -> None:
        asyncio.get_running_loop().call_later(0.05, at_work.set)
        await session.execute(text(BUSY[database.engine.dialect.name]))
        pytest.fail("it was not cancelled")

    job = asyncio.ensure_future(adding(database, users, "ada", work)({}))
    await asyncio.wait_for(at_work.wait(), ENOUGH_S)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(job, ENOUGH_S)
    assert borrowed(database) == 0
    assert await names(database, users) == []


async def test_jobs_at_the_same_time_have_sessions_of_their_own(database: Database, users: Table) -> None:
    sessions: list[AsyncSession] = []
    all_there = asyncio.Event()

    @database.job
    async def job(ctx: dict[str, Any], number: int) -> None:
        sessions.append(ctx["db"])
        if len(sessions) == 6:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), ENOUGH_S)
        await ctx["db"].execute(insert(users).values(name=f"user {number}"))
        if number % 2:
            raise JobError

    shared: dict[str, Any] = {"redis": None}
    ends = await asyncio.gather(*(job({**shared}, number) for number in range(6)), return_exceptions=True)
    assert [isinstance(end, JobError) for end in ends] == [False, True] * 3
    assert len({id(session) for session in sessions}) == 6
    assert await names(database, users) == ["user 0", "user 2", "user 4"]
    assert "db" not in shared


async def test_the_pool_has_a_connection_for_each_job_and_one_to_spare(database_url: str) -> None:
    database = Database(database_url)
    settings = database.settings({"functions": [], "max_jobs": 3})
    await settings["on_startup"]({})
    pool: Any = database.engine.sync_engine.pool
    held = [await database.engine.connect() for _ in range(4)]
    assert (pool.checkedout(), pool.overflow()) == (4, 1)
    for connection in held:
        await connection.close()
    await settings["on_shutdown"]({})
    assert pool is not database.engine.sync_engine.pool, "the pool was not closed"


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class BookIn(BaseModel):
    title: str


async def test_crud_classes_work_with_a_jobs_session(database: Database) -> None:
    books: Any = FastCRUD(Book)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    @database.job
    async def write(ctx: dict[str, Any], title: str, fail: bool, db: AsyncSession) -> None:
        await books.create(db=db, object=BookIn(title=title), commit=False)
        if fail:
            raise JobError

    await write({}, "kept", False)  # type: ignore[call-arg]
    with pytest.raises(JobError):
        await write({}, "lost", True)  # type: ignore[call-arg]

    @database.job
    async def read(ctx: dict[str, Any]) -> Any:
        return await books.get_multi(db=ctx["db"])

    found = await read({})
    assert [book["title"] for book in found["data"]] == ["kept"]
