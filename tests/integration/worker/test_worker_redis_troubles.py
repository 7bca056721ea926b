"""A Redis that refuses, stands still, dies or hands over under load: nothing is lost, and people see why it waits."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.constants import default_queue_name
from arq.jobs import Job
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer, find_binary
from arqube_queue import keys
from builders.relay import Door

pytestmark = pytest.mark.timeout(180)


AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Troubled:
    """A server that keeps what it has acknowledged, with plain arq clients of it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._clients: list[ArqRedis] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_QUEUE_PORT": str(self.server.address.port)}

    async def client(self) -> ArqRedis:
        settings = RedisSettings(host="127.0.0.1", port=self.server.address.port, conn_timeout=5)
        self._clients.append(await create_pool(settings))
        return self._clients[-1]

    def kill(self) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose(close_connection_pool=True)


@pytest_asyncio.fixture
async def troubled(tmp_path: Path) -> AsyncIterator[Troubled]:
    options = ("--appendonly", "yes", "--appendfsync", "always", *AT_ONCE)
    with RedisServer(folder=tmp_path / "redis", options=options) as server:
        subject = Troubled(server)
        yield subject
        await subject.close()


async def enqueue(client: ArqRedis, function: str, *args: Any) -> Job:
    job = await client.enqueue_job(function, *args)
    assert job is not None
    return job


async def assert_all_succeeded(client: ArqRedis, jobs: list[Job], value: object) -> None:
    results = [await Job(job.job_id, client).result(timeout=30, poll_delay=0.02) for job in jobs]
    assert results == [value] * len(jobs)
    assert await client.zcard(default_queue_name) == 0
    for pattern in ("arq:in-progress:*", "arq:retry:*", "arq:job:*"):
        assert await client.keys(pattern) == []


def said(worker: Any, words: str) -> bool:
    return any(words in line["error"] for line in worker.logged("Redis failed"))


async def fill_memory(client: ArqRedis) -> None:
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", 1)


async def free_memory(client: ArqRedis) -> None:
    await client.config_set("maxmemory", 0)


async def forbid_writes(client: ArqRedis) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", free_port())


async def allow_writes(client: ArqRedis) -> None:
    await client.execute_command("REPLICAOF", "NO", "ONE")


REFUSALS = [
    pytest.param(fill_memory, free_memory, "maxmemory", id="out of memory"),
    pytest.param(forbid_writes, allow_writes, "read only replica", id="a read-only replica"),
]
Change = Callable[[ArqRedis], Awaitable[None]]


@pytest.mark.parametrize(("refuse", "relent", "words"), REFUSALS)
async def test_a_refusal_is_shown_and_outlasted(
    start_worker: Any,
    ready: Any,
    eventually: Any,
    troubled: Troubled,
    tmp_path: Path,
    refuse: Change,
    relent: Change,
    words: str,
) -> None:
    worker = start_worker(environment={**troubled.environment, "ARQUBE_CONCURRENCY": "5"})
    await ready(worker)
    client = await troubled.client()
    go = tmp_path / "go"
    jobs = [await enqueue(client, "hold_until_file", str(go)) for _ in range(12)]
    await eventually(lambda: len(worker.logged("job started")) == 5)
    errors = worker.metric("arqube_worker_redis_errors_total")
    await refuse(client)
    await eventually(lambda: words in worker.get("/readyz")[1])
    assert worker.get("/readyz")[0] == 503
    assert worker.get("/healthz")[0] == 200
    assert said(worker, words)
    assert worker.metric("arqube_worker_redis_errors_total") > errors
    go.touch()  # jobs end meanwhile
    await eventually(lambda: worker.metric("arqube_worker_busy_slots") == 0 or len(worker.logged("job ended")) >= 5)
    await relent(client)
    await ready(worker)
    await assert_all_succeeded(client, jobs, "done")
    assert [line["outcome"] for line in worker.logged("job ended")] == ["succeeded"] * 12


async def test_jobs_that_end_make_room_in_a_full_redis(
    start_worker: Any, ready: Any, eventually: Any, troubled: Troubled, tmp_path: Path
) -> None:
    """What only writes more must not hold up the ends, which delete first."""
    worker = start_worker("Ticking", environment=troubled.environment)
    await ready(worker)
    client = await troubled.client()
    go = tmp_path / "go"
    jobs = [await enqueue(client, "hold_until_file", str(go)) for _ in range(3)]
    await eventually(lambda: sum(line["function"] == "hold_until_file" for line in worker.logged("job started")) == 3)
    await fill_memory(client)
    await eventually(lambda: "maxmemory" in worker.get("/readyz")[1])
    go.touch()
    await eventually(lambda: _are_over(client, jobs))
    await eventually(lambda: "maxmemory" in worker.get("/readyz")[1])  # the cron job still cannot be queued
    await free_memory(client)
    assert [await job.result(timeout=0) for job in jobs] == ["done"] * 3


async def test_a_worker_stays_unready_while_a_full_redis_takes_a_write_now_and_then(
    start_worker: Any, ready: Any, eventually: Any, troubled: Troubled
) -> None:
    """Whatever ends or expires makes room for the next write only; probes and alerts must not come and go with it."""
    worker = start_worker(environment=troubled.environment)
    await ready(worker)
    client = await troubled.client()
    await fill_memory(client)
    await eventually(lambda: worker.get("/readyz")[0] == 503)
    answers: list[int] = []

    async def beats_again(last: list[bytes]) -> bool:
        answers.append(worker.get("/readyz")[0])
        return await client.hvals(keys.heartbeats(default_queue_name)) != last

    async def is_refused_again(before: int) -> bool:
        answers.append(worker.get("/readyz")[0])
        return len(worker.logged("Redis failed")) > before

    for _ in range(3):
        last = await client.hvals(keys.heartbeats(default_queue_name))
        await free_memory(client)
        await eventually(lambda last=last: beats_again(last))
        before = len(worker.logged("Redis failed"))
        await fill_memory(client)
        await eventually(lambda before=before: is_refused_again(before))
    assert set(answers) == {503}
    await free_memory(client)
    await ready(worker)


async def _are_over(client: ArqRedis, jobs: list[Job]) -> bool:
    return await client.zmscore(default_queue_name, [job.job_id for job in jobs]) == [None] * len(jobs)


async def test_a_redis_that_is_loading_is_waited_for(
    start_worker: Any, ready: Any, eventually: Any, tmp_path: Path
) -> None:
    slowly = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    with RedisServer(folder=tmp_path / "redis", options=slowly) as server:
        troubled = Troubled(server)
        worker = start_worker(environment=troubled.environment)
        await ready(worker)
        client = await troubled.client()
        go = tmp_path / "go"
        jobs = [await enqueue(client, "hold_until_file", str(go)) for _ in range(12)]
        await eventually(lambda: len(worker.logged("job started")) == 10)
        await client.mset({f"ballast:{number}": "x" * 100 for number in range(1500)})
        await client.save()
        await troubled.close()
        troubled.kill()
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        await eventually(lambda: said(worker, "BusyLoadingError"))
        assert worker.get("/readyz")[0] == 503
        go.touch()
        await starting
        later = Troubled(server)
        await ready(worker)
        await assert_all_succeeded(await later.client(), jobs, "done")
        await later.close()


async def test_paused_clients_are_waited_for(
    start_worker: Any, ready: Any, eventually: Any, troubled: Troubled, tmp_path: Path
) -> None:
    worker = start_worker(environment={**troubled.environment, "ARQUBE_CONCURRENCY": "5"})
    await ready(worker)
    client = await troubled.client()
    go = tmp_path / "go"
    jobs = [await enqueue(client, "hold_until_file", str(go)) for _ in range(12)]
    await eventually(lambda: len(worker.logged("job started")) == 5)
    await client.execute_command("CLIENT", "PAUSE", 8000, "ALL")
    go.touch()
    await eventually(lambda: worker.get("/readyz")[0] == 503)
    assert worker.get("/healthz")[0] == 200
    await assert_all_succeeded(client, jobs, "done")
    await ready(worker)
    assert [line["outcome"] for line in worker.logged("job ended")] == ["succeeded"] * 12


async def test_kills_of_redis_under_load_lose_and_repeat_nothing(
    start_worker: Any, ready: Any, eventually: Any, troubled: Troubled, tmp_path: Path
) -> None:
    """What Redis has not acknowledged is told again, and what it did without an answer is not done twice."""
    worker = start_worker(environment=troubled.environment)
    await ready(worker)
    client = await troubled.client()
    ends = tmp_path / "ends"
    ends.touch()
    jobs = [await enqueue(client, "sign_off", str(ends), 0.02) for _ in range(1200)]
    await troubled.close()
    for goal in (150, 450, 750):
        await eventually(lambda goal=goal: len(ends.read_text().splitlines()) >= goal, within_s=20)
        troubled.kill()
        troubled.server.start()
    later = Troubled(troubled.server)
    await assert_all_succeeded(await later.client(), jobs, 1)
    await later.close()
    assert sorted(ends.read_text().splitlines()) == sorted(f"{job.job_id}:1" for job in jobs)


async def test_leases_are_renewed_at_the_new_master_while_the_old_one_lives_on(
    start_worker: Any, ready: Any, eventually: Any, troubled: Troubled, tmp_path: Path
) -> None:
    """The old one cuts no connection: it merely refuses to write."""
    address = troubled.server.address
    with RedisServer(options=("--replicaof", "127.0.0.1", str(address.port), *AT_ONCE)) as server:
        successor = Troubled(server)
        new, old = await successor.client(), await troubled.client()
        async with Door(address.port) as door:
            worker = start_worker(environment={"REDIS_QUEUE_PORT": str(door.port), "ARQUBE_LEASE": "2"})
            await ready(worker)
            go = tmp_path / "go"
            job = await enqueue(old, "hold_until_file", str(go))
            lease = "arq:in-progress:" + job.job_id
            token = await eventually(lambda: new.get(lease), within_s=20)
            await old.set(lease, token)  # without an end, until it is renewed
            await eventually(lambda: _ends(old, lease))
            door.target = server.address.port
            await allow_writes(new)
            await new.set(lease, token)
            await old.execute_command("REPLICAOF", "127.0.0.1", server.address.port)
            await eventually(lambda: _ends(new, lease))
            go.touch()
            await assert_all_succeeded(new, [job], "done")
        await successor.close()


async def _ends(client: ArqRedis, key: str) -> bool:
    return bool(await client.pttl(key) > 0)


class Succession:
    """A master, its replica, and a sentinel that lets the replica succeed."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisServer(options=AT_ONCE)
        self.replica = RedisServer(options=("--replicaof", "127.0.0.1", str(self.master.address.port)))
        self.port = free_port()
        self._folder = folder
        self.sentinel = Sentinel([("127.0.0.1", self.port)])  # type: ignore[no-untyped-call]

    def __enter__(self) -> Succession:
        self.master.start()
        self.replica.start()
        configuration = self._folder / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor jobs 127.0.0.1 {self.master.address.port} 1\n"
            "sentinel down-after-milliseconds jobs 300\nsentinel failover-timeout jobs 3000\n"
        )
        command = [find_binary(), str(configuration), "--sentinel"]
        with (self._folder / "sentinel.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self.replica.stop()
        self.master.stop()

    async def replica_is_known(self) -> bool:
        try:
            return bool(await self.sentinel.discover_slaves("jobs"))
        except RedisError:
            return False

    async def has_happened(self) -> bool:
        try:
            return bool((await self.sentinel.discover_master("jobs"))[1] == self.replica.address.port)
        except RedisError:
            return False


@pytest.fixture
def succession(tmp_path: Path) -> Iterator[Succession]:
    with Succession(tmp_path) as subject:
        yield subject


async def test_a_failover_under_load_loses_no_job(
    start_worker: Any, ready: Any, eventually: Any, succession: Succession, tmp_path: Path
) -> None:
    before = Troubled(succession.master)
    client = await before.client()
    await eventually(succession.replica_is_known, within_s=30)
    ends = tmp_path / "ends"
    ends.touch()
    jobs = [await enqueue(client, "sign_off", str(ends), 0.05) for _ in range(600)]
    assert await client.execute_command("WAIT", 1, 10_000) == 1, "what the replica never saw nobody can keep"
    worker = start_worker(
        environment={
            "ARQUBE_REDIS_SENTINELS": f"127.0.0.1:{succession.port}",
            "ARQUBE_REDIS_SENTINEL_MASTER": "jobs",
            "ARQUBE_LEASE": "2",
        }
    )
    await eventually(lambda: len(ends.read_text().splitlines()) >= 150, within_s=20)
    await before.close()
    before.kill()
    await eventually(succession.has_happened, within_s=30)
    after = Troubled(succession.replica)
    client = await after.client()
    await ready(worker)
    await assert_all_succeeded(client, jobs, 1)
    assert {line.partition(":")[0] for line in ends.read_text().splitlines()} == {job.job_id for job in jobs}
    await after.close()
    for sentinel in succession.sentinel.sentinels:
        await sentinel.aclose()
