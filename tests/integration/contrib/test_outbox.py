"""What an outbox writes is what arq's ``enqueue_job`` writes, if and only if the transaction is committed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import arq.connections
import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import SerializationError
from arq.utils import timestamp_ms
from redis.asyncio import Redis
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_worker.contrib.outbox import Outbox, Relay, table
from arqube_worker.contrib.sqlalchemy import Database
from arqube_worker.serializers import json_serializer

SOON = datetime.now().astimezone() + timedelta(hours=2)
DAY_MS = 86_400_000


@pytest_asyncio.fixture
async def client(redis: Redis, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client of an empty Redis."""
    address = redis_server.address
    client = await create_pool(RedisSettings(host=address.host, port=address.port))
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
def relay(outbox: Outbox, database: Database, redis: Redis) -> Relay:
    return Relay(outbox, database.engine, redis)


async def commit(database: Database, outbox: Outbox, *args: Any, **kwargs: Any) -> str:
    async with database.session() as session:
        return outbox.enqueue(session, *args, **kwargs)


async def found(redis: Redis, queue: str = keys.DEFAULT_QUEUE) -> list[Any]:
    """All that is in Redis of jobs: the queue with its scores, and each payload with its time to live in minutes."""
    jobs = []
    for job_id, score in await redis.zrange(queue, 0, -1, withscores=True):
        key = keys.JOB_PREFIX + job_id.decode()
        jobs.append((job_id, score, await redis.get(key), round(await redis.pttl(key) / 60_000)))
    names = {key for key in await redis.keys() if key != keys.OUTBOX_MOVED.encode()}
    return [*jobs, names]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((), {}, id="no arguments"),
        pytest.param((7, {"a": [b"1"]}), {"to": "ada"}, id="arguments of many types"),
        pytest.param((), {"_defer_by": 3600}, id="deferred by seconds"),
        pytest.param((), {"_defer_by": timedelta(hours=1)}, id="deferred by a timedelta"),
        pytest.param((), {"_defer_until": SOON}, id="deferred until a time"),
        pytest.param((), {"_expires": 1800}, id="with an expiry"),
        pytest.param((), {"_expires": 7200, "_defer_by": 3600}, id="with an expiry and deferred"),
        pytest.param((), {"_queue_name": "other"}, id="in another queue"),
        pytest.param((), {"_job_try": 3}, id="at a later try"),
    ],
)
async def test_a_committed_job_is_what_arq_would_have_enqueued(
    database: Database,
    outbox: Outbox,
    relay: Relay,
    client: ArqRedis,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    now_ms = timestamp_ms()
    monkeypatch.setattr(arq.connections, "timestamp_ms", lambda: now_ms)
    monkeypatch.setattr(table, "timestamp_ms", lambda: now_ms)
    queue = kwargs.get("_queue_name", keys.DEFAULT_QUEUE)
    await client.enqueue_job("work", *args, _job_id="one", **kwargs)
    expected = await found(client, queue)
    await client.flushall()
    assert await commit(database, outbox, "work", *args, _job_id="one", **kwargs) == "one"
    assert await relay.move() == 1
    assert await found(client, queue) == expected


async def test_an_outbox_has_the_serializer_and_the_queue_that_it_was_made_with(
    database: Database, client: ArqRedis
) -> None:
    outbox = Outbox(table_name="other_outbox", queue_name="fast", job_serializer=json_serializer)
    async with database.engine.begin() as connection:
        await connection.run_sync(outbox.metadata.create_all)
    job_id = await commit(database, outbox, "work", 7)
    assert await Relay(outbox, database.engine, client).move() == 1
    assert await client.zrange("fast", 0, -1) == [job_id.encode()]
    payload = await client.get(keys.JOB_PREFIX + job_id)
    assert payload is not None
    assert payload.startswith(b'{"t":null,"f":"work","a":[7],"k":{}')


async def test_what_is_rolled_back_never_was(database: Database, outbox: Outbox, relay: Relay, redis: Redis) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.session() as session:
            outbox.enqueue(session, "work")
            await session.flush()
            raise ZeroDivisionError
    async with database.session() as session:
        kept = outbox.enqueue(session, "work")
        with contextlib.suppress(ZeroDivisionError):
            async with session.begin_nested():
                outbox.enqueue(session, "work")
                raise ZeroDivisionError
    assert await relay.move() == 1
    assert await redis.zrange(keys.DEFAULT_QUEUE, 0, -1) == [kept.encode()]


async def test_jobs_are_moved_in_order_and_batches(database: Database, outbox: Outbox, redis: Redis) -> None:
    ids = [await commit(database, outbox, "work", number) for number in range(5)]
    relay = Relay(outbox, database.engine, redis, batch_size=2)
    seen: list[set[str]] = []
    while await relay.move():
        seen.append({job_id.decode() for job_id in await redis.zrange(keys.DEFAULT_QUEUE, 0, -1)})
    assert seen == [set(ids[:2]), set(ids[:4]), set(ids)]


@pytest.mark.parametrize("taken", [keys.JOB_PREFIX, keys.RESULT_PREFIX])
async def test_a_job_whose_id_is_taken_is_dropped_as_arq_drops_it(
    database: Database, outbox: Outbox, relay: Relay, redis: Redis, taken: str
) -> None:
    await redis.set(taken + "one", b"was there before")
    await commit(database, outbox, "work", _job_id="one")
    await commit(database, outbox, "work", _job_id="one")
    assert await relay.move() == 2
    assert await redis.zcard(keys.DEFAULT_QUEUE) == 0
    assert await redis.get(taken + "one") == b"was there before"


async def test_an_id_is_free_again_once_its_job_and_result_are_gone(
    database: Database, outbox: Outbox, relay: Relay, redis: Redis
) -> None:
    for _ in range(2):
        await commit(database, outbox, "work", _job_id="one")
        assert await relay.move() == 1
        assert await redis.zrem(keys.DEFAULT_QUEUE, "one") == 1
        await redis.delete(keys.JOB_PREFIX + "one")


@pytest.mark.parametrize(
    ("options", "left_ms"),
    [
        pytest.param({}, None, id="one without an expiry waits for ever, as its day is over"),
        pytest.param({"_defer_by": 3 * 86_400}, 2 * DAY_MS, id="one that is not due yet lives a day beyond that"),
        pytest.param({"_expires": 3 * 86_400}, DAY_MS, id="one with an expiry keeps it"),
        pytest.param({"_expires": 3600}, 0, id="one that is expired is, and a worker tells"),
    ],
)
async def test_a_job_that_is_moved_two_days_late_lives(
    database: Database,
    outbox: Outbox,
    relay: Relay,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    left_ms: int | None,
) -> None:
    monkeypatch.setattr(table, "timestamp_ms", lambda: timestamp_ms() - 2 * DAY_MS)
    await commit(database, outbox, "work", _job_id="one", **options)
    assert await relay.move() == 1
    assert await redis.zcard(keys.DEFAULT_QUEUE) == 1
    left = await redis.pttl(keys.JOB_PREFIX + "one")
    if left_ms is None:
        assert left == -1
    else:
        assert left < 60_000 if left_ms == 0 else abs(left - left_ms) < 60_000


async def test_a_queue_that_cannot_be_written_holds_up_no_other(
    database: Database, outbox: Outbox, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.set("broken", "a text")
    for number in range(3):
        await commit(database, outbox, "work", _job_id=f"stays {number}", _queue_name="broken")
    await commit(database, outbox, "work", _job_id="goes")
    relay = Relay(outbox, database.engine, redis, batch_size=2)
    assert [await relay.move() for _ in range(4)] == [0, 1, 0, 0]
    assert await redis.zrange(keys.DEFAULT_QUEUE, 0, -1) == [b"goes"]
    assert not await redis.exists(keys.JOB_PREFIX + "stays 0")
    assert [record.message for record in caplog.records if "'broken'" in record.message] == [
        "Redis takes no jobs into the queue 'broken', they wait in the outbox: "
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    ]
    await redis.delete("broken")
    assert [await relay.move() for _ in range(3)] == [2, 1, 0]
    assert await redis.zcard("broken") == 3


async def test_bad_input_is_refused_when_it_is_enqueued(database: Database, outbox: Outbox) -> None:
    async with database.session() as session:
        with pytest.raises(RuntimeError, match="either '_defer_until' or '_defer_by'"):
            outbox.enqueue(session, "work", _defer_by=1, _defer_until=SOON)
        with pytest.raises(SerializationError, match="work"):
            outbox.enqueue(session, "work", lambda: None)
    async with database.engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(outbox.table)) == 0


async def test_a_database_in_memory_is_refused(outbox: Outbox, redis: Redis) -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(ValueError, match="one connection for all"):
        Relay(outbox, engine, redis)
    await engine.dispose()


async def test_the_table_can_be_migrated_with_the_apps_own(database: Database, outbox: Outbox) -> None:
    async with database.engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM arqube_outbox"))).scalar() == 0
    assert {"users", "arqube_outbox"} <= set(outbox.metadata.tables)
