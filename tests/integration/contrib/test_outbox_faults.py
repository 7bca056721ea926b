"""A job of an outbox exists once, if and only if its transaction was committed, wherever its relay dies.

The worker is the worst one: between two relays it has run what was queued, and nothing of that is left in Redis but
what the relay itself wrote. So arq's own check for a job or a result of the same id does not help.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from tests.integration.conftest import KINDS
from tests.integration.contrib.conftest import ON_POSTGRESQL, ON_SQLITE, open_database
from tests.integration.contrib.faults import Crash, Faults

from arqube_local.postgres_server import PostgresServer
from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_queue.outbox import TooLateError
from arqube_worker.contrib.outbox import Outbox, Relay
from arqube_worker.contrib.sqlalchemy import Database

SETTLED = 0.0
LONG_S = 600.0


class World:
    """An app, its relays one after the other, and a worker whose runs are counted."""

    def __init__(self, database: Database, outbox: Outbox, redis: Redis) -> None:
        self.database, self.outbox, self.redis = database, outbox, redis
        self.faults = Faults()
        self.relays_redis = self.faults.client(redis)
        self.committed: list[str] = []
        self.runs: Counter[str] = Counter()

    async def commit(self, jobs: int) -> None:
        async with self.database.session() as session:
            for _ in range(jobs):
                number = len(self.committed)
                self.committed.append(self.outbox.enqueue(session, "welcome", number, _job_id=f"job {number}"))

    async def roll_back(self) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with self.database.session() as session:
                self.outbox.enqueue(session, "welcome", _job_id="rolled back")
                await session.flush()
                raise ZeroDivisionError

    async def relay(self, crash_at: int | None = None) -> list[str]:
        """One relay's life: it moves and settles all there is, or dies there; the points that it passed."""
        self.faults.passed, self.faults.crash_at = [], crash_at
        engine = self.database.engine
        mover = Relay(self.outbox, engine, self.relays_redis, settle_s=LONG_S, batch_size=2)
        settler = Relay(self.outbox, engine, self.relays_redis, settle_s=SETTLED, batch_size=2)
        with self.faults.within(engine), contextlib.suppress(Crash):
            while await mover.move():
                pass
            while await settler.settle():
                pass
        return self.faults.passed

    async def work(self) -> None:
        """Run what is queued; results expire at once."""
        for job_id in map(bytes.decode, await self.redis.zrange(keys.DEFAULT_QUEUE, 0, -1)):
            assert await self.redis.delete(keys.JOB_PREFIX + job_id), f"{job_id} is queued without its payload"
            await self.redis.zrem(keys.DEFAULT_QUEUE, job_id)
            self.runs[job_id] += 1

    async def rows(self) -> int:
        async with self.database.engine.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self.outbox.table)) or 0)

    async def assert_each_ran_once(self, when: str) -> None:
        assert self.runs == Counter(self.committed), when
        assert await self.rows() == 0, when


@pytest.fixture
def world(database: Database, outbox: Outbox, redis: Redis) -> World:
    return World(database, outbox, redis)


async def test_each_job_runs_once_wherever_the_relay_dies(world: World) -> None:
    await world.commit(1)
    await world.relay()  # from now on Redis knows the scripts
    await world.commit(3)
    points = await world.relay()
    await world.work()
    assert {"after SELECT", "after EVALSHA", "after UPDATE", "after DELETE", "before commit", "after commit"} <= set(
        points
    )
    for at, point in enumerate(points):
        when = f"the relay died at {at}: {point}"
        await world.commit(3)
        await world.roll_back()
        assert (await world.relay(crash_at=at))[at:] == [point], when
        await world.work()
        await world.relay()
        await world.work()
        await world.assert_each_ran_once(when)
    # Only tokens of relays that died between the last commit and its forgetting are left.
    assert await world.redis.zcard(keys.OUTBOX_MOVED) <= 4 * 2


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(
    lives=st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.none() | st.integers(0, 60), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_each_job_runs_once_through_any_number_of_deaths(
    kind: str, lives: list[tuple[int, bool, int | None, bool]], redis_server: RedisServer, request: Any
) -> None:
    async def live(url: str) -> None:
        database, outbox = open_database(url), Outbox()
        redis = redis_server.address.connect()
        await redis.flushall()
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(outbox.metadata.drop_all)
                await connection.run_sync(outbox.metadata.create_all)
            world = World(database, outbox, redis)
            for jobs, rolls_back, crash_at, works in lives:
                await world.commit(jobs)
                if rolls_back:
                    await world.roll_back()
                await world.relay(crash_at)
                if works:
                    await world.work()
            await world.relay()
            await world.work()
            await world.assert_each_ran_once(str(lives))
        finally:
            await redis.aclose()
            await database.close()

    if kind == "postgresql":
        asyncio.run(live(request.getfixturevalue("postgres").url))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(f"sqlite+aiosqlite:///{Path(folder)}/app.db"))


async def test_relays_at_the_same_time_move_each_job_once(world: World) -> None:
    await world.commit(120)
    relays = [Relay(world.outbox, world.database.engine, world.redis, batch_size=7) for _ in range(4)]

    async def move_all(relay: Relay) -> None:
        while await relay.move():
            pass

    working = asyncio.create_task(work_until(world, 120))
    await asyncio.gather(*map(move_all, relays))
    await asyncio.wait_for(working, 60)
    assert world.runs == Counter(world.committed)
    settlers = [Relay(world.outbox, world.database.engine, world.redis, settle_s=SETTLED) for _ in range(3)]
    await asyncio.gather(*(settler.settle() for settler in settlers))
    while await settlers[0].settle():
        pass
    await world.assert_each_ran_once("four relays")
    assert await world.redis.zcard(keys.OUTBOX_MOVED) == 0


async def work_until(world: World, jobs: int) -> None:
    while world.runs.total() < jobs:
        await world.work()
        await asyncio.sleep(0.005)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those in whose course it was raised."""
    while error is not None:
        yield error
        error = error.__context__


def hanging_client(redis: Redis) -> tuple[Redis, asyncio.Event, asyncio.Event]:
    """A client that hangs before it moves jobs, when it does, and what lets it go on."""
    hung, go_on = asyncio.Event(), asyncio.Event()

    class Hanging(Redis):
        async def execute_command(self, *args: Any, **options: Any) -> Any:
            if args[0] == "EVALSHA":
                hung.set()
                await go_on.wait()
            return await super().execute_command(*args, **options)

    return Hanging(connection_pool=redis.connection_pool), hung, go_on


@ON_SQLITE  # it locks no rows
async def test_on_sqlite_no_other_relay_has_the_rows_that_one_is_moving(world: World, database_url: str) -> None:
    await world.commit(1)
    hanging, hung, go_on = hanging_client(world.redis)
    moving = asyncio.create_task(Relay(world.outbox, world.database.engine, hanging).move())
    await asyncio.wait_for(hung.wait(), 60)
    other = Database(database_url, connect_args={"timeout": 0.1})
    with pytest.raises(OperationalError, match="database is locked"):
        await Relay(world.outbox, other.engine, world.redis).move()
    go_on.set()
    assert await moving == 1
    assert await Relay(world.outbox, other.engine, world.redis).move() == 0
    await other.close()


@ON_POSTGRESQL  # SQLite's lock goes only with the process that holds it
async def test_a_relay_that_hung_until_its_rows_were_moved_and_deleted_moves_nothing(
    postgres: PostgresServer, world: World, eventually: Any
) -> None:
    await world.commit(1)
    hanging, hung, go_on = hanging_client(world.redis)
    other = Database(postgres.url, pool_size=1)
    late = asyncio.create_task(Relay(world.outbox, other.engine, hanging, settle_s=0.2).move())
    await asyncio.wait_for(hung.wait(), 60)
    async with world.database.engine.connect() as connection:
        killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        await connection.execute(text(killed))
    relay = Relay(world.outbox, world.database.engine, world.redis, settle_s=0.2)
    await eventually(relay.move, within_s=60)
    await world.work()
    await eventually(relay.settle, within_s=60)
    assert await world.rows() == 0
    go_on.set()
    (error,) = await asyncio.gather(late, return_exceptions=True)
    assert isinstance(error, Exception)
    assert any(isinstance(cause, TooLateError) for cause in chain(error)), error
    await world.work()
    await world.assert_each_ran_once("a relay that hung")
    await other.close()


async def test_what_redis_has_lost_is_moved_again(world: World) -> None:
    await world.commit(3)
    relay = Relay(world.outbox, world.database.engine, world.redis, settle_s=LONG_S)
    assert await relay.move() == 3
    await world.redis.flushall()  # as a crash does with what was not on disk yet
    await world.relay()
    await world.work()
    await world.relay()
    await world.work()
    await world.assert_each_ran_once("Redis lost its last seconds")


async def test_rows_are_kept_until_redis_has_had_time_to_write(world: World) -> None:
    await world.commit(2)
    relay = Relay(world.outbox, world.database.engine, world.redis, settle_s=LONG_S)
    assert await relay.move() == 2
    assert await relay.settle() == 0
    assert await world.rows() == 2
    assert await relay.move() == 0
