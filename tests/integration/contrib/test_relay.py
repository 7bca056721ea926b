"""A relay in the background: it wakes at commits, and goes on when the database or Redis were away."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
import redis as redis_library
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from tests.integration.contrib.conftest import ON_POSTGRESQL, ON_SQLITE

from arqube_local.postgres_server import PostgresServer
from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_worker.contrib.outbox import Outbox, Relay
from arqube_worker.contrib.sqlalchemy import Database

NEVER_S = 3600.0
ENOUGH_S = 60.0


async def queued(redis: Redis) -> set[str]:
    return {job_id.decode() for job_id in await redis.zrange(keys.DEFAULT_QUEUE, 0, -1)}


async def test_a_commit_wakes_the_relay(database: Database, outbox: Outbox, redis: Redis, eventually: Any) -> None:
    async with Relay(outbox, database.engine, redis, poll_s=NEVER_S):
        for _ in range(3):
            async with database.session() as session:
                job_id = outbox.enqueue(session, "work")
            await eventually(lambda job_id=job_id: redis.exists(keys.JOB_PREFIX + job_id), within_s=ENOUGH_S)


@ON_SQLITE  # it has a driver without asyncio
async def test_a_commit_in_a_thread_wakes_the_relay(
    database: Database, outbox: Outbox, redis: Redis, redis_server: RedisServer
) -> None:
    engine = create_engine(database.engine.url.set(drivername="sqlite"))
    address = redis_server.address

    def commit_and_wait() -> bool:
        """The loop has nothing to do meanwhile, so it sleeps unless it is woken."""
        with Session(engine) as session, session.begin():
            job_id = outbox.enqueue(session, "work")
        deadline = time.monotonic() + ENOUGH_S
        with redis_library.Redis(host=address.host, port=address.port) as client:
            while not (moved := client.exists(keys.JOB_PREFIX + job_id)) and time.monotonic() < deadline:
                time.sleep(0.02)
        return bool(moved)

    async with Relay(outbox, database.engine, redis, poll_s=NEVER_S):
        assert await asyncio.to_thread(commit_and_wait)
        assert await asyncio.to_thread(commit_and_wait)
    engine.dispose()


async def test_without_a_commit_here_it_looks_now_and_then_and_clears_up(
    database: Database, outbox: Outbox, redis: Redis, eventually: Any
) -> None:
    elsewhere = Outbox()  # as another process has it: this one's relays do not hear of its commits
    async with Relay(outbox, database.engine, redis, poll_s=0.05, settle_s=0.5):
        await eventually(lambda: redis.ping())
        async with database.session() as session:
            job_id = elsewhere.enqueue(session, "work")
        await eventually(lambda: redis.exists(keys.JOB_PREFIX + job_id), within_s=ENOUGH_S)

        async def cleared() -> bool:
            async with database.engine.connect() as connection:
                rows = (await connection.execute(outbox.table.select())).all()
            return not rows and not await redis.zcard(keys.OUTBOX_MOVED)

        await eventually(cleared, within_s=ENOUGH_S)


async def test_it_goes_on_when_redis_is_back(
    database: Database, outbox: Outbox, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "arqube_worker.contrib.outbox.relay")
    with RedisServer() as server:
        port = server.address.port
        redis = server.address.connect()
        async with Relay(outbox, database.engine, redis, poll_s=0.05):
            async with database.session() as session:
                before = outbox.enqueue(session, "work", "a secret")
            await eventually(lambda: redis.exists(keys.JOB_PREFIX + before), within_s=ENOUGH_S)
            server.stop()
            async with database.session() as session:
                meanwhile = outbox.enqueue(session, "work", "a secret")
            await eventually(lambda: "is tried again" in caplog.text, within_s=ENOUGH_S)
            with RedisServer(port=port):
                await eventually(lambda: has(redis, meanwhile), within_s=ENOUGH_S)
                await eventually(lambda: "moved again" in caplog.text, within_s=ENOUGH_S)
        await redis.aclose()
    assert "secret" not in caplog.text


async def has(redis: Redis, job_id: str) -> bool:
    try:
        return bool(await redis.exists(keys.JOB_PREFIX + job_id))
    except (RedisError, OSError):
        return False


@ON_POSTGRESQL  # the other is no server
async def test_it_goes_on_when_the_database_was_killed_and_is_back(
    database: Database, outbox: Outbox, redis: Redis, postgres: PostgresServer, eventually: Any
) -> None:
    async with Relay(outbox, database.engine, redis, poll_s=0.05):
        async with database.session() as session:
            before = outbox.enqueue(session, "work")
        await eventually(lambda: redis.exists(keys.JOB_PREFIX + before), within_s=ENOUGH_S)
        postgres.kill()
        with pytest.raises((SQLAlchemyError, OSError)):
            async with database.session() as session:
                outbox.enqueue(session, "work", _job_id="never")
        postgres.start()
        async with database.session() as session:
            after = outbox.enqueue(session, "work")
        await eventually(lambda: redis.exists(keys.JOB_PREFIX + after), within_s=ENOUGH_S)
    assert await queued(redis) == {before, after}


async def test_it_ends_when_it_is_told_and_what_is_committed_later_waits(
    database: Database, outbox: Outbox, redis: Redis
) -> None:
    relay = Relay(outbox, database.engine, redis)
    async with relay:
        await asyncio.sleep(0)
    async with database.session() as session:
        job_id = outbox.enqueue(session, "work")
    assert await queued(redis) == set()
    assert await relay.move() == 1
    assert await queued(redis) == {job_id}
