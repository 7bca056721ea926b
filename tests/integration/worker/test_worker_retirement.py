"""Retirement: a worker that is asked to takes no more jobs and says so, and goes on when nobody asks any more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_queue.model import Heartbeat, QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from builders.relay import Relay

Eventually = Callable[..., Awaitable[Any]]

ROUNDS = 10

pytestmark = pytest.mark.timeout(180)


class Operator:
    """Reads the queue again and again, as the operator does, and asks the workers of ``retiring`` to retire."""

    def __init__(self, redis: Redis) -> None:
        self.retiring: frozenset[str] = frozenset()
        self._redis = redis
        self._dead = False
        self._task = asyncio.create_task(self._run())

    async def die(self) -> None:
        self._dead = True  # redis-py may swallow a cancellation
        await self._task

    async def read(self) -> QueueSnapshot:
        (result,) = await read_snapshots(
            self._redis, [SnapshotQuery(default_queue_name, retiring=self.retiring, owner="uid")]
        )
        assert isinstance(result, QueueSnapshot)
        return result

    async def beat(self, worker: str) -> Heartbeat | None:
        return next((beat for beat in (await self.read()).heartbeats if beat.worker == worker), None)

    async def idle_in_retirement(self, worker: str) -> bool:
        beat = await self.beat(worker)
        return beat is not None and beat.retiring and beat.busy == 0

    async def _run(self) -> None:
        while not self._dead:
            await self.read()
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def operator(redis: Redis) -> AsyncIterator[Operator]:
    operator = Operator(redis)
    yield operator
    await operator.die()


@pytest.fixture
def start_named(start_worker: Any) -> Callable[..., Any]:
    def start(name: str, settings: str = "WorkerSettings", **environment: str) -> Any:
        return start_worker(settings, environment={"ARQUBE_WORKER_NAME": name, **environment})

    return start


async def ended(client: ArqRedis) -> int:
    return int(await client.llen("ended"))


async def test_a_retired_worker_finishes_its_jobs_and_starts_no_other(
    start_named: Any, ready: Any, arq_client: ArqRedis, operator: Operator, eventually: Eventually
) -> None:
    worker = start_named("a")
    await ready(worker)
    await arq_client.enqueue_job("hold_until", "go")
    await eventually(lambda: arq_client.llen("started"))

    operator.retiring = frozenset({"a"})

    async def retires_busy() -> bool:
        beat = await operator.beat("a")
        return beat is not None and beat.retiring and beat.busy == 1

    await eventually(retires_busy)
    assert worker.get("/readyz")[0] == 200
    assert worker.metric("arqube_worker_retiring") == 1
    await arq_client.enqueue_job("nap", 0)
    await arq_client.set("go", 1)
    await eventually(lambda: operator.idle_in_retirement("a"))
    turns = worker.metric("arqube_worker_turns")
    await eventually(lambda: worker.metric("arqube_worker_turns") == turns)
    assert await arq_client.llen("started") == 1
    assert await ended(arq_client) == 1
    assert (await operator.read()).waiting == 1

    operator.retiring = frozenset()
    await eventually(lambda: ended_all(arq_client, 2))
    assert worker.metric("arqube_worker_retiring") == 0


async def ended_all(client: ArqRedis, count: int) -> bool:
    return await ended(client) == count and not await client.zcard(default_queue_name)


async def test_the_others_take_what_a_retired_worker_leaves(
    start_named: Any, start_worker: Any, ready: Any, arq_client: ArqRedis, operator: Operator, eventually: Eventually
) -> None:
    retired, other = start_named("a", "Brisk"), start_named("b", "Brisk")
    plain = start_worker("Brisk", plain=True)
    operator.retiring = frozenset({"a"})
    await ready(retired, other)
    await eventually(lambda: "redis_version" in plain.text)
    await eventually(lambda: operator.idle_in_retirement("a"))

    for _ in range(100):
        await arq_client.enqueue_job("nap", 0)

    await eventually(lambda: ended_all(arq_client, 100), within_s=30)
    beats = {beat.worker: beat for beat in (await operator.read()).heartbeats}
    assert beats["a"].started == 0
    assert not beats["b"].retiring


async def test_a_worker_goes_on_when_its_operator_has_died(
    start_named: Any, ready: Any, arq_client: ArqRedis, operator: Operator, redis: Redis, eventually: Eventually
) -> None:
    worker = start_named("a")
    await ready(worker)
    operator.retiring = frozenset({"a"})
    await eventually(lambda: operator.idle_in_retirement("a"))

    await operator.die()
    await arq_client.enqueue_job("nap", 0)

    await eventually(lambda: ended_all(arq_client, 1), within_s=20)
    await eventually(lambda: worker.metric("arqube_worker_retiring") == 0)
    assert not await redis.exists(keys.retiring(default_queue_name))


async def test_a_worker_that_is_marked_before_it_starts_takes_nothing(
    start_named: Any, ready: Any, arq_client: ArqRedis, operator: Operator, eventually: Eventually
) -> None:
    operator.retiring = frozenset({"a"})
    await operator.read()
    await arq_client.enqueue_job("nap", 0)

    await ready(start_named("a"))
    await eventually(lambda: operator.idle_in_retirement("a"))

    beat = await operator.beat("a")
    assert beat is not None
    assert beat.started == 0


async def test_a_retired_worker_stops_as_any_other(
    start_named: Any, ready: Any, arq_client: ArqRedis, operator: Operator, eventually: Eventually
) -> None:
    worker = start_named("a")
    await ready(worker)
    await arq_client.enqueue_job("nap", 0.5)
    await eventually(lambda: arq_client.llen("started"))
    operator.retiring = frozenset({"a"})
    await eventually(lambda: worker.metric("arqube_worker_retiring") == 1)

    worker.signal()

    assert await worker.exit_code() == 0, worker.text
    assert (await operator.read()).heartbeats == ()
    assert await arq_client.keys("arq:in-progress:*") == []


async def test_a_burst_ignores_it(
    start_named: Any, arq_client: ArqRedis, operator: Operator, eventually: Eventually
) -> None:
    operator.retiring = frozenset({"a"})
    await operator.read()
    await arq_client.enqueue_job("nap", 0)

    assert await start_named("a", "Burst").exit_code() == 0
    assert await ended(arq_client) == 1


@pytest_asyncio.fixture
async def fitful_port(redis_server: RedisServer) -> AsyncIterator[int]:
    """A port that leads to Redis by connections each of which is now fast, now slow: one's words overtake another's."""
    chance = random.Random(7)  # noqa: S311 - not a secret

    class Fitful(Relay):
        async def to_server(self, data: bytes) -> bytes:
            await asyncio.sleep(chance.choice((0, 0, 0.15)))
            return data

        to_client = to_server

    async with Fitful(redis_server.address.port) as relay:
        yield relay.port


async def test_who_is_idle_in_retirement_gets_no_job_until_it_is_let_go(
    start_named: Any, ready: Any, arq_client: ArqRedis, operator: Operator, fitful_port: int, eventually: Eventually
) -> None:
    """Retires workers at random moments of a steady load: from the reading that shows one idle none may come to it."""
    names = ("a", "b", "c")
    options = {"ARQUBE_CONCURRENCY": "2", "REDIS_QUEUE_PORT": str(fitful_port)}
    workers = [start_named(name, "Brisk", **options) for name in names]
    await ready(*workers)
    enough = asyncio.Event()
    loading = asyncio.create_task(load(arq_client, enough))
    chance = random.Random(4)  # noqa: S311 - not a secret
    seen = 0
    try:
        for _ in range(ROUNDS):
            victim = chance.choice(names)
            await asyncio.sleep(chance.uniform(0, 0.3))
            operator.retiring = frozenset({victim})
            await eventually(lambda victim=victim: operator.idle_in_retirement(victim), every_s=0.005)
            before = await operator.beat(victim)
            for _ in range(80):
                held = await arq_client.keys("arq:in-progress:*")
                holders = [token for token in await arq_client.mget(held) if token] if held else []
                assert not [token for token in holders if token.startswith(victim.encode() + b":")]
                await asyncio.sleep(0.005)
            after = await operator.beat(victim)
            assert before is not None
            assert after is not None
            assert (after.started, after.busy) == (before.started, 0)
            seen += 1
            operator.retiring = frozenset()
    finally:
        enough.set()
        await loading
    assert seen == ROUNDS


async def load(client: ArqRedis, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await client.enqueue_job("nap", 0.02)
        await asyncio.sleep(0.01)
