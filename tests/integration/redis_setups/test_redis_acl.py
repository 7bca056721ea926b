"""The users of docs/redis.md: each may do what its part needs, and nothing less is enough."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq import Retry, cron, func
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.redis_server import RedisServer
from arqube_operator.console import queue_reads
from arqube_queue import heartbeat, job_records, jobs, keys
from arqube_queue.connection import RedisAddress
from arqube_queue.dead_letters import Filter, Outcome
from arqube_queue.model import Heartbeat
from arqube_queue.payload_life import DEFAULT_LIFE_MS, keep_payloads
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from arqube_worker import settings
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker
from builders import redis_users

QUEUE = "emails"
PASSWORD = "hunter2"  # noqa: S105 - of the tests' own server
PAGE = Path(__file__).parents[3] / "docs/redis.md"
USERS = {
    line.split()[1]: [f">{PASSWORD}" if rule.startswith(">") else rule for rule in line.split()[2:]]
    for line in re.findall(r"^user .*$", PAGE.read_text(), re.MULTILINE)
}
PARTS = ("arqube-operator", "arqube-worker", "app", "arqube-reader", "arqube-jobs")
WITHIN_S = 20.0

Role = Callable[[RedisAddress, Redis, Callable[[], Awaitable[bool]]], Awaitable[None]]


def less() -> list[Any]:
    """Each user without each of its rules in turn."""
    return [
        pytest.param(user, rule, id=f"{user} without {rule}")
        for user in PARTS
        for rule in USERS[user]
        if rule.startswith(("~", "%", "+"))
    ]


@pytest.fixture(scope="module")
def server(binary: Any) -> Any:
    with RedisServer() as started:
        yield started


@pytest_asyncio.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    async with server.address.connect(decode_responses=True) as client:
        await client.flushall()
        await client.script_flush()
        await client.acl_log_reset()
        yield client


async def denials(admin: Redis, user: str) -> set[str]:
    """What the user was refused: commands and keys."""
    return {what for who, what in await redis_users.denials(admin) if who == user}


# -- what each part does --


async def operate(address: RedisAddress, admin: Redis, _: Callable[[], Awaitable[bool]]) -> None:
    """All that the operator asks of Redis: readings of the queue, and a look after the payloads."""
    now_ms = int((await admin.time())[0]) * 1000
    old_ms = now_ms - DEFAULT_LIFE_MS * 3 // 4
    await admin.zadd(QUEUE, {"old": old_ms, "later": now_ms + 60_000})
    await admin.set("arq:job:old", "payload", px=old_ms + DEFAULT_LIFE_MS - now_ms)
    await admin.hset(keys.heartbeats(QUEUE), mapping={"dead": "1 {}"})  # type: ignore[misc]
    await admin.hset(keys.retiring(QUEUE), mapping={"former": "1 uid"})  # type: ignore[misc]
    query = SnapshotQuery(QUEUE, owner="uid", workers=(1, 1), retiring=frozenset({"worker"}))
    async with address.connect() as client:
        (found,) = await read_snapshots(client, [query])
        if isinstance(found, Exception):
            raise found
        await keep_payloads(client, QUEUE)
    assert found.waiting == 1
    assert await admin.ttl("arq:job:old") == -1


async def succeed(ctx: dict[str, Any]) -> str:
    return "done"


async def renew(ctx: dict[str, Any]) -> None:
    await asyncio.sleep(0.6)


async def fail(ctx: dict[str, Any]) -> None:
    raise ValueError


async def try_again(ctx: dict[str, Any]) -> None:
    if ctx["job_try"] == 1:
        raise Retry(defer=0.01)


async def hang(ctx: dict[str, Any]) -> None:
    await asyncio.sleep(60)


async def tick(ctx: dict[str, Any]) -> None:
    """A cron job."""


async def work(address: RedisAddress, admin: Redis, enough: Callable[[], Awaitable[bool]]) -> None:
    """A worker's whole life, with every way in which a job may end."""
    await admin.zadd(keys.ABORT, {"of long ago": 1})
    await admin.hset(keys.heartbeats(QUEUE), mapping={"other": "1 {}"})  # type: ignore[misc]
    async with RedisAddress(address.host, address.port).connect() as own:
        client = ArqRedis(own.connection_pool, default_queue_name=QUEUE)
        names = ("succeed", "renew", "fail", "fail", "try_again", "unheard_of", "hang")
        jobs = {number: await client.enqueue_job(name, _job_id=f"{name}-{number}") for number, name in enumerate(names)}
        now_ms = int((await admin.time())[0]) * 1000
        old_ms = now_ms - DEFAULT_LIFE_MS * 3 // 4
        await admin.zadd(QUEUE, {"succeed-0": old_ms})
        await admin.pexpire("arq:job:succeed-0", old_ms + DEFAULT_LIFE_MS - now_ms)
        await admin.zadd(keys.ABORT, {"hang-6": now_ms})
        options = {
            "functions": [succeed, func(renew), fail, try_again, hang],
            "cron_jobs": [
                cron(tick, run_at_startup=True, second=0),
                cron(tick, name="queued already", job_id="succeed-0", run_at_startup=True, second=0),
            ],
            "allow_abort_jobs": True,
            "queue_name": QUEUE,
        }
        environ = {
            "ARQUBE_REDIS_HOST": address.host,
            "ARQUBE_REDIS_PORT": str(address.port),
            "ARQUBE_REDIS_USERNAME": address.username or "",
            "ARQUBE_REDIS_PASSWORD": address.password or "",
            "ARQUBE_LEASE": "1",
            "ARQUBE_DEAD_LETTER_MAX_ENTRIES": "1",
            "ARQUBE_UNKNOWN_FUNCTION_GRACE": "0.5",
            "ARQUBE_SHUTDOWN_TIMEOUT": "0",
        }
        configuration = settings.configure(settings.LoadedSettings("test", options), environ)
        worker = Worker(configuration, name="worker", metrics=Metrics(CollectorRegistry()))
        serving = asyncio.create_task(worker.serve())

        async def over() -> bool:
            woken = worker._wakeup is not None and worker._wakeup.available
            return woken and await own.zcard(QUEUE) == 0 and await own.zcard(keys.ABORT) == 0

        try:
            async with asyncio.timeout(WITHIN_S):
                while not (await enough() or await over()):  # noqa: ASYNC110 - the event is in Redis
                    await asyncio.sleep(0.02)
        finally:
            worker.drain.request()
            worker.drain.request()
            await asyncio.wait_for(serving, WITHIN_S)
        if not await enough():
            assert await jobs[0].result(timeout=0) == "done"  # type: ignore[union-attr]
            assert await own.zcard(keys.dead_letters(QUEUE)) == 1


async def produce(address: RedisAddress, admin: Redis, _: Callable[[], Awaitable[bool]]) -> None:
    """All that arq's clients do with a job."""
    async with address.connect() as own:
        client = ArqRedis(own.connection_pool, default_queue_name=QUEUE)
        await client.ping()
        job = await client.enqueue_job("succeed", _job_id="one")
        assert job is not None
        assert await client.enqueue_job("succeed", _job_id="one") is None, "unique"
        assert await job.status() == JobStatus.queued
        assert await job.info() is not None
        with pytest.raises(asyncio.TimeoutError):
            await job.result(timeout=0, poll_delay=0.01)
        deferred = await client.enqueue_job("succeed", _job_id="two", _defer_by=60)
        with pytest.raises(asyncio.TimeoutError):
            await Job("two", client, _queue_name=QUEUE).abort(timeout=0, poll_delay=0.01)
    assert deferred is not None
    assert await admin.zscore(keys.ABORT, "two")


async def look(address: RedisAddress, admin: Redis, _: Callable[[], Awaitable[bool]]) -> None:
    """All that readers of jobs ask of Redis."""
    now_ms = int((await admin.time())[0]) * 1000
    await admin.zadd(QUEUE, {"waits": now_ms - 1000})
    for job_id in ("over", "dead"):
        await admin.zadd(keys.job_ends(QUEUE), {job_id: now_ms})
        await admin.hset(keys.job_records(QUEUE), job_id, '["send",7,"failed"]\n[1,"us",5,6,"failed"]')  # type: ignore[misc]
    await admin.zadd(keys.dead_letters(QUEUE), {"dead": now_ms, "of old": now_ms})
    for job_id in ("dead", "of old"):
        await admin.hset(keys.dead_letter(QUEUE, job_id), mapping={"reason": "failed", "payload": "bytes"})  # type: ignore[misc]
    await heartbeat.write(admin, QUEUE, Heartbeat("worker", 0, 0, 1))
    async with address.connect() as client:
        listed = (await job_records.list_jobs(client, QUEUE)).jobs
        assert {job.job_id for job in listed} == {"waits", "over", "dead"}
        assert await job_records.read_job(client, QUEUE, "of old") is not None
        assert len(await heartbeat.read(client, QUEUE)) == 1


async def look_and_act(address: RedisAddress, admin: Redis, enough: Callable[[], Awaitable[bool]]) -> None:
    """And all that is done to jobs."""
    await look(address, admin, enough)
    async with address.connect() as client:
        assert await jobs.cancel(client, QUEUE, "waits") is jobs.CancelOutcome.WAITING
        assert await jobs.cancel(client, QUEUE, "over") is jobs.CancelOutcome.ENDED
        assert await jobs.cancel(client, QUEUE, "none") is jobs.CancelOutcome.MISSING
        assert await jobs.retry(client, QUEUE, "dead") is Outcome.RETRIED


async def show(address: RedisAddress, admin: Redis, enough: Callable[[], Awaitable[bool]]) -> None:
    """What the operator asks for its console, beside its own readings."""
    await operate(address, admin, enough)
    await admin.flushdb()
    await look(address, admin, enough)
    async with address.connect() as client:
        work = await queue_reads.read_work(client, QUEUE, "uid", int((await admin.time())[0]) * 1000)
        assert {job.job_id for job in work.recent} == {"over", "dead"}
        assert len((await queue_reads.read_letters(client, QUEUE, Filter(), None)).letters) == 2
        assert await queue_reads.read_job(client, QUEUE, "dead") is not None


ROLES: dict[str, Role] = {
    "arqube-operator": operate,
    "arqube-worker": work,
    "app": produce,
    "arqube-reader": look,
    "arqube-jobs": look_and_act,
}


@pytest.mark.parametrize("user", PARTS)
async def test_what_the_page_grants_is_enough(server: RedisServer, admin: Redis, user: str) -> None:
    await redis_users.grant(admin, user, USERS[user])

    async def never() -> bool:
        return False

    await ROLES[user](replace(server.address, username=user, password=PASSWORD), admin, never)

    assert await denials(admin, user) == set()


async def test_what_the_page_grants_is_enough_for_a_console(server: RedisServer, admin: Redis) -> None:
    (more,) = re.findall(r"^\+.*$", PAGE.read_text(), re.MULTILINE)
    rights = [rule for rule in USERS["arqube-reader"] if rule.startswith(("%", "+"))]
    await redis_users.grant(admin, "arqube-operator", [*USERS["arqube-operator"], *rights, *more.split()])

    async def never() -> bool:
        return False

    await show(replace(server.address, username="arqube-operator", password=PASSWORD), admin, never)

    assert await denials(admin, "arqube-operator") == set()


@pytest.mark.filterwarnings("ignore:Unclosed client session:ResourceWarning")  # of pipelines that cannot UNWATCH
@pytest.mark.parametrize("binary", ["redis"], indirect=True, scope="module")
@pytest.mark.parametrize(("user", "rule"), less())
async def test_nothing_less_is_enough(server: RedisServer, admin: Redis, user: str, rule: str) -> None:
    await redis_users.grant(admin, user, [each for each in USERS[user] if each != rule])

    async def denied() -> bool:
        return bool(await denials(admin, user))

    with suppress(RedisError, AssertionError, asyncio.TimeoutError):
        await ROLES[user](replace(server.address, username=user, password=PASSWORD), admin, denied)

    gc.collect()
    assert await denied(), f"{user} never missed {rule}"
