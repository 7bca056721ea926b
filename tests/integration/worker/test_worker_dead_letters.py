"""The whole circle: a job fails for good in a worker, is read as a dead letter, retried, and succeeds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, keys
from arqube_queue.dead_letters import Outcome
from arqube_queue.payload import JobHeader, read_header
from arqube_worker.serializers import RemoteError, json_deserializer, json_serializer

QUEUE = keys.DEFAULT_QUEUE


@pytest_asyncio.fixture
async def json_client(redis: Redis, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client whose jobs are JSON."""
    address = redis_server.address
    settings = RedisSettings(host=address.host, port=address.port)
    client = await create_pool(settings, job_serializer=json_serializer, job_deserializer=json_deserializer)
    yield client
    await client.aclose(close_connection_pool=True)


async def test_a_job_that_failed_for_good_succeeds_when_it_is_retried(
    start_worker: Any, ready: Any, redis: Redis, json_client: ArqRedis
) -> None:
    await ready(start_worker(module="json_settings"))

    job = await json_client.enqueue_job("send", "a@example.org", _job_id="mail-1")
    assert job is not None
    with pytest.raises(RemoteError, match="ValueError: nobody takes mail"):
        await job.result(timeout=10, poll_delay=0.02)

    remains = await dead_letters.read(redis, QUEUE, "mail-1")
    assert remains is not None
    assert (remains.letter.reason, remains.letter.function, remains.letter.tries) == ("failed", "send", 1)
    assert remains.letter.error == "ValueError: nobody takes mail to a@example.org"
    assert "in send" in remains.traceback
    assert read_header(remains.payload) == JobHeader("send", remains.letter.enqueued_ms)

    await redis.set("post office", "open")
    assert await dead_letters.retry(redis, QUEUE, ["mail-1"]) == {"mail-1": Outcome.RETRIED}
    assert await job.result(timeout=10, poll_delay=0.02) == {"sent": "a@example.org", "try": 1}
    assert await dead_letters.count(redis, QUEUE) == 0


async def test_a_job_in_another_format_is_undecodable_and_its_function_still_told(
    start_worker: Any, ready: Any, redis: Redis, arq_client: ArqRedis, eventually: Any
) -> None:
    await ready(start_worker(module="json_settings"))

    await arq_client.enqueue_job("send", "a@example.org", _job_id="pickled")

    await eventually(lambda: dead_letters.count(redis, QUEUE))
    (letter,) = (await dead_letters.read_page(redis, QUEUE)).letters
    assert (letter.job_id, letter.reason, letter.function) == ("pickled", "undecodable", "send")
