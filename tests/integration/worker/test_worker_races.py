"""Moments that processes hit only by chance, made to happen: a signal or a lost answer between two steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import arq.jobs
import arq.worker
import pytest
from arq import cron
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.constants import default_queue_name
from arq.jobs import Job
from arq.worker import Retry
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from arqube_local.redis_server import RedisServer
from arqube_queue import keys, turns
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker
from arqube_worker.settings import Configuration

pytestmark = pytest.mark.timeout(30)

Build = Callable[..., Worker]


@pytest.fixture
def build(redis_server: RedisServer) -> Build:
    def make(*functions: Any, timeout_s: float = 5, **options: Any) -> Worker:
        configuration = Configuration({"functions": functions, **options}, redis_server.address, timeout_s)
        return Worker(configuration, name="here", metrics=Metrics(CollectorRegistry()))

    return make


def lose_answer(real: Callable[..., Awaitable[Any]], times: int = 1) -> Callable[..., Awaitable[Any]]:
    """``real`` is done, but its first answers never arrive."""
    left = times

    async def call(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        answer = await real(*arguments, **options)
        if left:
            left -= 1
            raise RedisConnectionError("the connection broke before the answer")
        return answer

    return call


async def untouched(client: ArqRedis, job: Job) -> bool:
    """The job waits as if no worker had ever seen it."""
    exists = await client.exists("arq:in-progress:" + job.job_id, "arq:retry:" + job.job_id)
    return not exists and await client.zscore(default_queue_name, job.job_id) is not None


async def enqueue(client: ArqRedis, function: str, **options: Any) -> Job:
    job = await client.enqueue_job(function, **options)
    assert job is not None
    return job


async def test_a_claim_that_returns_after_the_signal_is_handed_back(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    async def work(ctx: dict[str, Any]) -> None:
        ran.append(ctx["job_id"])

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"), on_job_start=work)

    real = turns._TURN

    async def turn(*arguments: Any) -> Any:
        answer = await real(*arguments)
        worker.drain.request()
        return answer

    monkeypatch.setattr(turns, "_TURN", turn)
    assert await worker.serve() == 0
    assert ran == [], "neither the hook nor the function"
    assert await untouched(arq_client, job)
    assert worker.tally.finished == {"returned": 1}


@pytest.mark.parametrize("retry_jobs", [pytest.param(True, id="retries"), pytest.param(False, id="no retries")])
async def test_a_job_that_was_about_to_start_at_the_signal_is_handed_back(
    build: Build, arq_client: ArqRedis, retry_jobs: bool
) -> None:
    ran = []

    async def work(ctx: dict[str, Any]) -> None:
        ran.append(ctx["job_id"])

    async def signal_comes(ctx: dict[str, Any]) -> None:
        worker.drain.request()

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"), on_job_start=signal_comes, retry_jobs=retry_jobs)
    assert await worker.serve() == 0
    assert ran == []
    assert await untouched(arq_client, job)


async def test_a_claim_whose_answer_is_lost_strands_no_job(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(ctx: dict[str, Any]) -> int:
        worker.drain.request()
        return int(ctx["job_try"])

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"))
    monkeypatch.setattr(turns, "_TURN", lose_answer(turns._TURN))
    assert await worker.serve() == 0
    assert await job.result(timeout=0) == 1


async def test_a_claim_whose_answer_is_lost_just_before_the_stop_strands_no_job(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(ctx: dict[str, Any]) -> None: ...

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"))
    lossy = lose_answer(turns._TURN)

    async def turn(*arguments: Any) -> Any:
        worker.drain.request()
        return await lossy(*arguments)

    monkeypatch.setattr(turns, "_TURN", turn)
    assert await worker.serve() == 0
    assert await untouched(arq_client, job)


@pytest.mark.parametrize("times", [pytest.param(1, id="once"), pytest.param(3, id="three times")])
async def test_a_finish_whose_answer_is_lost_is_done_once(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Putting off a retry twice would add its delay to the due time twice."""

    async def work(ctx: dict[str, Any]) -> None:
        worker.drain.request()
        monkeypatch.setattr(turns, "_TURN", lose_answer(turns._TURN, times))
        raise Retry(defer=100)

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"))
    before = await arq_client.zscore(default_queue_name, job.job_id)
    assert await worker.serve() == 0
    after = await arq_client.zscore(default_queue_name, job.job_id)
    assert before is not None
    assert after is not None
    assert 100_000 <= after - before < 110_000
    assert not await arq_client.exists("arq:in-progress:" + job.job_id)
    assert worker.tally.finished == {"retried": 1}


async def test_a_hand_back_whose_answer_is_lost_is_done_once(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(ctx: dict[str, Any]) -> None:
        worker.drain.request()
        worker.drain.request()
        monkeypatch.setattr(turns, "_TURN", lose_answer(turns._TURN))
        await asyncio.sleep(60)

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"))
    assert await worker.serve() == 0
    assert await untouched(arq_client, job)
    assert worker.tally.finished == {"returned": 1}


async def test_a_cron_run_whose_queueing_failed_is_queued_again(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """arq has moved on to the next run by then, which for this job would be in a year."""
    ran = []

    async def work(ctx: dict[str, Any]) -> None:
        ran.append(ctx["job_id"])
        worker.drain.request()

    worker = build(cron_jobs=[cron(work, name="work", month=1, day=1, hour=0, minute=0, run_at_startup=True)])
    real = ArqRedis.enqueue_job
    broken = []

    async def enqueue_job(self: ArqRedis, *arguments: Any, **options: Any) -> Any:
        if not broken:
            broken.append(True)
            raise RedisConnectionError("away")
        return await real(self, *arguments, **options)

    monkeypatch.setattr(ArqRedis, "enqueue_job", enqueue_job)
    assert await worker.serve() == 0
    assert broken == [True]
    assert len(ran) == 1


async def test_a_cron_job_that_is_given_back_can_run_at_once(build: Build, arq_client: ArqRedis) -> None:
    """arq hides a cron job for 60 s after each run; one that was interrupted has not run."""

    async def work(ctx: dict[str, Any]) -> None:
        worker.drain.request()
        worker.drain.request()
        await asyncio.sleep(60)

    worker = build(cron_jobs=[cron(work, name="work", month=1, day=1, run_at_startup=True, job_id="nightly")])
    assert await worker.serve() == 0
    assert await untouched(arq_client, Job("nightly", arq_client))


async def test_settings_keep_their_own_serializers(build: Build, redis_server: RedisServer, redis: Any) -> None:
    def encode(document: dict[str, Any]) -> bytes:
        return json.dumps(document, default=repr).encode()

    async def work(ctx: dict[str, Any], text: str) -> list[Any]:
        worker.drain.request()
        inner = await ctx["redis"].enqueue_job("work", "inner")
        return [text, (await inner.info()).args]

    settings = RedisSettings(host=redis_server.address.host, port=redis_server.address.port)
    client = await create_pool(settings, job_serializer=encode, job_deserializer=json.loads)
    worker = build(arq.worker.func(work, name="work"), job_serializer=encode, job_deserializer=json.loads)
    job = await client.enqueue_job("work", "outer")
    assert job is not None
    assert await worker.serve() == 0
    assert await job.result(timeout=0) == ["outer", ["inner"]]
    await client.aclose(close_connection_pool=True)


async def test_a_job_whose_end_cannot_be_told_at_all_is_dead_and_frees_its_slot(
    build: Build, arq_client: ArqRedis
) -> None:
    async def work(ctx: dict[str, Any]) -> None:
        pass

    job = await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work", keep_result="an hour"), burst=True, max_jobs=1)  # type: ignore[arg-type]

    assert await asyncio.wait_for(worker.serve(), 10) == 0
    assert worker.tally.finished == {"failed": 1}
    assert await job.status() == arq.jobs.JobStatus.not_found
    (letter,) = [found async for found in arq_client.scan_iter(keys.dead_letter(default_queue_name, "*"))]
    assert await arq_client.hget(letter, "error") == b"JobExecutionFailed: TypeError"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "connects_anew"),
    [
        pytest.param(ReadOnlyError("You can't write against a read only replica."), True, id="a replica's refusal"),
        pytest.param(
            ResponseError(
                "Error running script (call to f_94be): @user_script:60: @user_script: 60: "
                "-READONLY You can't write against a read only replica."
            ),
            True,
            id="a replica's refusal of a script before Redis 7",
        ),
        pytest.param(ResponseError("OOM command not allowed"), False, id="a full server's refusal"),
    ],
)
async def test_after_a_replicas_refusal_the_next_turn_goes_to_the_new_master(
    build: Build, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch, error: Exception, connects_anew: bool
) -> None:
    async def work(ctx: dict[str, Any]) -> None:
        pass

    await enqueue(arq_client, "work")
    worker = build(arq.worker.func(work, name="work"), burst=True)
    connections = []
    real = turns._TURN

    async def turn(redis: Any, *arguments: Any) -> Any:
        connections.append(await redis.execute_command("CLIENT", "ID"))
        if len(connections) == 1:
            raise error
        return await real(redis, *arguments)

    monkeypatch.setattr(turns, "_TURN", turn)
    assert await worker.serve() == 0
    assert (connections[1] != connections[0]) is connects_anew
