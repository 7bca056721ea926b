"""The operator's view of queues: one reading a tick, honest about a Redis that is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.queues import QueueObserver, Reading
from arqube_queue.connection import RedisAddress
from arqube_queue.snapshot import SnapshotQuery

Eventually = Callable[..., Awaitable[Any]]

EMAILS = Key("shop", "emails")
REPORTS = Key("shop", "reports")
TICK_S = 0.05


class Watched:
    """An observer with what it woke and which errors it told."""

    def __init__(self) -> None:
        self.woken: Counter[Key] = Counter()
        self.errors: Counter[str] = Counter()
        self.delays: list[float] = []
        self.pipelines = 0
        self.observer = QueueObserver(self._wake, self, tick_s=TICK_S)

    def _wake(self, key: Key, reading: Reading) -> None:
        self.woken[key] += 1

    def ticked(self, delay_s: float) -> None:
        self.delays.append(delay_s)

    def redis_asked(self) -> None:
        self.pipelines += 1

    def redis_failed(self, reason: str) -> None:
        self.errors[reason] += 1

    def read(self, address: RedisAddress, key: Key = EMAILS, queue: str = "arq:queue") -> Reading:
        return self.observer.watch(key, address, SnapshotQuery(queue))


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    yield watched
    await watched.observer.close()


async def test_a_queue_is_read_again_and_again(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    assert watched.read(redis_server.address) == Reading()
    await redis.zadd("arq:queue", {"job": 1000})

    def waits() -> bool:
        snapshot = watched.read(redis_server.address).snapshot
        return snapshot is not None and snapshot.waiting == 1

    await eventually(waits)
    await eventually(lambda: watched.woken[EMAILS] >= 3)


async def test_all_queues_of_one_redis_share_one_connection(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    watched.read(redis_server.address, EMAILS, "emails")
    watched.read(replace(redis_server.address), REPORTS, "reports")
    await eventually(lambda: watched.woken[EMAILS] >= 2 and watched.woken[REPORTS] >= 2)

    clients = await redis.client_list()

    assert len(clients) == 2, "the observer's and this test's"


async def test_a_redis_that_is_away_is_told_and_its_return_is_noticed(watched: Watched, eventually: Eventually) -> None:
    address = RedisAddress(host="127.0.0.1", port=free_port())

    def problem() -> str | None:
        reading = watched.read(address)
        return reading.problem.reason if reading.problem else None

    await eventually(lambda: problem() == "RedisUnreachable")
    assert watched.errors["RedisUnreachable"] >= 1
    with RedisServer(port=address.port):
        await eventually(lambda: problem() is None and watched.read(address).snapshot is not None)


async def test_a_connection_that_was_dropped_between_two_readings_is_no_outage(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    watched.read(redis_server.address)
    for _ in range(3):
        woken = watched.woken[EMAILS]
        await eventually(lambda woken=woken: watched.woken[EMAILS] >= woken + 3)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal")  # type: ignore[no-untyped-call]
    woken = watched.woken[EMAILS]
    await eventually(lambda: watched.woken[EMAILS] >= woken + 3)
    assert not watched.errors


async def test_the_last_snapshot_is_kept_through_an_outage(watched: Watched, eventually: Eventually) -> None:
    with RedisServer() as server:
        await eventually(lambda: watched.read(server.address).snapshot is not None)
    await eventually(lambda: watched.read(server.address).problem is not None)

    assert watched.read(server.address).snapshot is not None


async def test_a_wrong_password_is_named_and_never_shown(watched: Watched, eventually: Eventually) -> None:
    with RedisServer() as server:
        admin = server.address.connect()
        await admin.config_set("requirepass", "s3cret")
        await admin.aclose()
        for password in (None, "wr0ng"):
            address = replace(server.address, password=password)

            def problem(address: RedisAddress = address) -> Any:
                return watched.read(address).problem

            await eventually(problem)
            assert problem().reason == "RedisAuthenticationFailed"
            assert "s3cret" not in problem().message
            assert "wr0ng" not in problem().message

        right = replace(server.address, password="s3cret")  # noqa: S106 - the test's own server
        await eventually(lambda: watched.read(right).snapshot is not None)


async def test_a_key_of_another_type_spoils_only_its_own_queue(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    await redis.set("text", "no queue")
    watched.read(redis_server.address, REPORTS, "reports")

    def problem() -> str | None:
        reading = watched.read(redis_server.address, EMAILS, "text")
        return reading.problem.reason if reading.problem else None

    await eventually(lambda: problem() == "NotAQueue")
    assert watched.read(redis_server.address, REPORTS, "reports").problem is None


async def test_a_forgotten_queue_is_read_no_more_and_lets_go_of_its_connection(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    watched.read(redis_server.address)
    await eventually(lambda: watched.woken[EMAILS] >= 1)

    watched.observer.forget(EMAILS)

    async def alone() -> bool:
        return len(await redis.client_list()) == 1

    await eventually(alone)


async def test_a_queue_that_moves_is_read_at_its_new_place_only(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    with RedisServer() as other:
        watched.read(other.address)
        await eventually(lambda: watched.read(other.address).snapshot is not None)
        assert watched.read(redis_server.address) == Reading(), "what was read elsewhere does not count"
        await eventually(lambda: watched.read(redis_server.address).snapshot is not None)


async def test_the_payloads_of_a_queue_without_workers_outlive_a_day(
    watched: Watched, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    hour_ms = 3_600_000
    now_ms = int((await redis.time())[0]) * 1000
    await redis.zadd("arq:queue", {"old": now_ms - 23 * hour_ms, "own": now_ms - 23 * hour_ms, "young": now_ms})
    await redis.set("arq:job:old", "payload", px=hour_ms)
    await redis.set("arq:job:own", "payload that its producer lets expire", px=2 * hour_ms)
    await redis.set("arq:job:young", "payload", px=24 * hour_ms)

    watched.read(redis_server.address)

    async def kept() -> bool:
        return bool(await redis.ttl("arq:job:old") == -1)

    await eventually(kept)
    assert await redis.ttl("arq:job:own") > 0
    assert await redis.ttl("arq:job:young") > 0
