"""A Redis that restarts, stalls or refuses: the worker lives on, is unready meanwhile, and writes what it owes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job

from arqube_local.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps its data over a restart."""
    with RedisServer(folder=tmp_path / "redis", options=("--appendonly", "yes", "--appendfsync", "always")) as server:
        yield server


def client_of(server: RedisServer) -> Any:
    return create_pool(RedisSettings(host=server.address.host, port=server.address.port, conn_timeout=5))


def environment(server: RedisServer) -> dict[str, str]:
    return {"REDIS_QUEUE_PORT": str(server.address.port)}


async def test_a_restart_of_redis_loses_neither_the_worker_nor_the_job_in_flight(
    start_worker: Any, ready: Any, eventually: Any, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = start_worker(environment=environment(own_server))
    await ready(worker)
    client: ArqRedis = await client_of(own_server)
    go = tmp_path / "go"
    job = await client.enqueue_job("hold_until_file", str(go))
    assert job is not None
    await eventually(lambda: worker.logged("job started"))
    await client.aclose(close_connection_pool=True)
    own_server.stop()
    await eventually(lambda: worker.get("/readyz")[0] == 503)
    assert "Redis has not answered" in worker.get("/readyz")[1]
    assert worker.get("/healthz")[0] == 200
    go.touch()  # the job ends while nobody can be told
    await eventually(lambda: any(line["during"] == "taking a turn" for line in worker.logged("Redis failed")))
    own_server.start()
    client = await client_of(own_server)
    assert await job_result(client, job.job_id) == "done"
    later = await client.enqueue_job("note", "after the restart")
    assert later is not None
    assert await later.result(timeout=20, poll_delay=0.02) == "after the restart"
    await ready(worker)
    assert worker.metric("arqube_worker_redis_errors_total") > 0
    await client.aclose(close_connection_pool=True)
    worker.signal()
    assert await worker.exit_code() == 0
    assert [line["outcome"] for line in worker.logged("job ended")] == ["succeeded", "succeeded"]


async def job_result(client: ArqRedis, job_id: str) -> Any:
    return await Job(job_id, client).result(timeout=20, poll_delay=0.02)


async def test_a_stalled_redis_is_given_up_on_and_taken_up_again(
    start_worker: Any, ready: Any, eventually: Any, own_server: RedisServer
) -> None:
    """A paused server accepts and never answers; arq would wait for ever."""
    worker = start_worker(environment=environment(own_server))
    await ready(worker)
    pid = own_server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await eventually(lambda: worker.get("/readyz")[0] == 503, within_s=20)
        assert worker.get("/healthz")[0] == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    await ready(worker)
    client = await client_of(own_server)
    job = await client.enqueue_job("note", "again")
    assert await job_result(client, job.job_id) == "again"
    await client.aclose(close_connection_pool=True)


async def test_a_worker_that_is_told_to_stop_without_redis_exits(
    start_worker: Any, ready: Any, eventually: Any, own_server: RedisServer
) -> None:
    worker = start_worker("CronOnly", environment={**environment(own_server), "ARQUBE_SHUTDOWN_TIMEOUT": "1"})
    await ready(worker)
    own_server.stop()
    await eventually(lambda: worker.get("/readyz")[0] == 503)
    worker.signal()
    assert await worker.exit_code(within_s=15) == 0


async def test_a_worker_started_before_redis_waits_for_it(
    start_worker: Any, ready: Any, eventually: Any, own_server: RedisServer
) -> None:
    own_server.stop()
    worker = start_worker(environment=environment(own_server))
    await eventually(lambda: worker.logged("Redis failed"))
    assert worker.get("/readyz") == (503, "not connected to Redis yet\n")
    own_server.start()
    await ready(worker)


async def test_a_refused_command_is_shown_and_survived(
    start_worker: Any, ready: Any, eventually: Any, arq_client: ArqRedis
) -> None:
    worker = start_worker()
    await ready(worker)
    await arq_client.set("arq:queue", "not a sorted set")
    await eventually(lambda: any("WRONGTYPE" in line["error"] for line in worker.logged("Redis failed")))
    await arq_client.delete("arq:queue")
    job = await arq_client.enqueue_job("note", "well again")
    assert job is not None
    assert await job.result(timeout=20, poll_delay=0.02) == "well again"


async def test_a_job_that_blocks_the_loop_silences_no_probe(
    start_worker: Any, ready: Any, eventually: Any, arq_client: ArqRedis
) -> None:
    worker = start_worker()
    await ready(worker)
    job = await arq_client.enqueue_job("block", 1.5)
    assert job is not None
    await eventually(lambda: arq_client.llen("started"))
    status, _ = await asyncio.to_thread(worker.get, "/healthz")
    assert status == 200
    assert worker.metric("arqube_worker_busy_slots") == 1
    await job.result(timeout=20, poll_delay=0.02)
