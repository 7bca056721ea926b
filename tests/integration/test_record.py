"""``arqube record`` on a real Redis: what producers enqueue is what it writes, and the simulator replays it."""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker
from redis.asyncio import Redis

from arqube_local.record.follow import Follower
from arqube_local.record.recording import Arrival
from arqube_local.redis_server import RedisServer
from arqube_local.simulate.load_files import read_load
from arqube_queue import heartbeat, keys
from arqube_queue.model import Heartbeat

Eventually = Callable[..., Awaitable[Any]]

ARQUBE = (sys.executable, "-c", "from arqube_local.cli import main; main()")
QUEUE = "arq:queue"


@dataclass
class Recorder:
    """A follower that runs, and what it has handed on."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    arrivals: list[Arrival] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    looks: int = 0
    follower: Follower = field(init=False)

    def progress(self, trouble: str | None) -> None:
        if trouble is None:
            self.looks += 1
        else:
            self.troubles.append(trouble)

    @property
    def arrived(self) -> int:
        return self.follower.recording.arrived


@pytest.fixture
def recorder(redis: Redis, eventually: Eventually) -> Any:
    """Record while the block runs."""

    @asynccontextmanager
    async def record() -> AsyncIterator[Recorder]:
        recorder = Recorder()
        recorder.follower = Follower(redis, QUEUE, recorder.arrivals.extend, recorder.progress)
        task = asyncio.create_task(recorder.follower.follow(recorder.stop, None))
        try:
            await eventually(lambda: recorder.looks or task.done())
            yield recorder
        finally:
            recorder.stop.set()
            await task

    return record


@pytest.fixture
async def pool(redis: Redis, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    address = redis_server.address
    client = await create_pool(RedisSettings(host=address.host, port=address.port))
    yield client
    await client.aclose(close_connection_pool=True)


async def nap(ctx: dict[str, Any], seconds: float) -> None:
    await asyncio.sleep(seconds)


@asynccontextmanager
async def plain_worker(pool: ArqRedis) -> AsyncIterator[None]:
    """A worker of arq itself, which knows nothing of us."""
    worker = Worker(
        [nap], redis_pool=pool, handle_signals=False, poll_delay=0.01, max_jobs=20, keep_result=0, log_results=False
    )
    task = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with warnings.catch_warnings():  # A cancellation that meets a claim leaves arq's pipeline open.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


async def empty(pool: ArqRedis) -> bool:
    return await pool.zcard(QUEUE) == 0


async def test_each_job_that_runs_is_recorded_once_with_its_run_time(
    recorder: Any, pool: ArqRedis, eventually: Eventually
) -> None:
    async with recorder() as recording, plain_worker(pool):
        for _ in range(60):
            await pool.enqueue_job("nap", 0.2)
        await eventually(lambda: empty(pool), within_s=30)
        await eventually(lambda: len(recording.arrivals) == 60)

    assert len(recording.arrivals) == 60
    assert recording.follower.recording.estimated == 0
    assert all(arrival.due_ms is None for arrival in recording.arrivals)
    assert all(arrival.run_ms is not None and 150 < arrival.run_ms < 5000 for arrival in recording.arrivals)
    assert sorted(arrival.run_ms or 0 for arrival in recording.arrivals)[30] < 600


async def test_a_job_arrives_when_it_was_enqueued_though_it_is_seen_later(
    recorder: Any, pool: ArqRedis, eventually: Eventually
) -> None:
    async with recorder() as recording:
        jobs = [await pool.enqueue_job("nap", 1) for _ in range(20)]
        await eventually(lambda: recording.arrived == 20)
        dues = [await pool.zscore(QUEUE, job.job_id) for job in jobs if job is not None]
        start_ms = recording.follower.start_ms

    assert sorted(arrival.at_ms for arrival in recording.arrivals) == pytest.approx([due - start_ms for due in dues])


async def test_a_deferred_job_has_both_times(recorder: Any, pool: ArqRedis, eventually: Eventually) -> None:
    async with recorder() as recording:
        await pool.enqueue_job("nap", 1, _defer_by=timedelta(minutes=10))
        await eventually(lambda: recording.arrived == 1)

    (arrival,) = recording.arrivals
    assert arrival.at_ms < 60_000
    assert arrival.due_ms - arrival.at_ms == pytest.approx(600_000, abs=5_000)
    assert arrival.run_ms is None


async def test_what_waits_at_the_start_comes_first_and_what_runs_is_left_out(
    redis: Redis, recorder: Any, pool: ArqRedis
) -> None:
    for number in range(1200):  # more than a page
        await redis.zadd(QUEUE, {f"old-{number}": 1_000_000})
    await redis.zadd(QUEUE, {"running": 1_000_001})
    await redis.set(keys.IN_PROGRESS_PREFIX + "running", "1")
    await pool.enqueue_job("nap", 1, _defer_by=timedelta(minutes=10))

    async with recorder() as recording:
        pass

    assert len(recording.arrivals) == 1201
    assert {arrival.at_ms for arrival in recording.arrivals} == {0.0}
    assert sum(arrival.due_ms is not None for arrival in recording.arrivals) == 1


async def test_jobs_of_other_queues_are_not_recorded(recorder: Any, pool: ArqRedis, eventually: Eventually) -> None:
    async with recorder() as recording:
        for _ in range(5):
            await pool.enqueue_job("nap", 1, _queue_name="other")
        await pool.enqueue_job("nap", 1)
        await eventually(lambda: recording.arrived == 1)

    assert len(recording.arrivals) == 1


async def test_an_id_that_is_used_again_is_another_job(recorder: Any, pool: ArqRedis, eventually: Eventually) -> None:
    async with recorder() as recording, plain_worker(pool):
        for count in (1, 2, 3):
            await pool.enqueue_job("nap", 0.1, _job_id="daily")
            await eventually(lambda count=count: len(recording.arrivals) == count)


async def test_jobs_that_only_the_workers_saw_are_made_up_for(
    redis: Redis, recorder: Any, eventually: Eventually
) -> None:
    beat = Heartbeat("pod-1", 0, busy=0, slots=10, finished={"succeeded": 900, "retried": 50}, run_seconds=95.0)
    await heartbeat.write(redis, QUEUE, beat)

    async with recorder() as recording:
        await heartbeat.write(redis, QUEUE, beat)
        looks = recording.looks
        await eventually(lambda: recording.looks > looks + 1)
        later = replace(beat, finished={"succeeded": 940, "retried": 60}, run_seconds=96.0)
        await heartbeat.write(redis, QUEUE, later)
        await heartbeat.write(redis, QUEUE, Heartbeat("pod-2", 0, 0, 10, finished={"failed": 2}, run_seconds=0.04))
        await eventually(lambda: recording.arrived == 42)
        looks = recording.looks
        await eventually(lambda: recording.looks > looks + 2)

    assert recording.follower.recording.estimated == 42
    assert len(recording.arrivals) == 42
    assert {round(arrival.run_ms or 0) for arrival in recording.arrivals} == {20}
    assert len({arrival.at_ms for arrival in recording.arrivals}) == 42


async def test_after_a_lost_connection_the_queue_is_looked_at_anew(
    redis: Redis, recorder: Any, pool: ArqRedis, eventually: Eventually
) -> None:
    async with recorder() as recording:
        await pool.enqueue_job("nap", 1, _job_id="before")
        await eventually(lambda: recording.arrived == 1)
        await redis.client_kill_filter(_type="pubsub")
        await pool.enqueue_job("nap", 1, _job_id="meanwhile")
        await redis.zrem(QUEUE, "before")
        await eventually(lambda: recording.troubles and recording.arrived == 2, within_s=20)
        assert len(recording.arrivals) == 1

    assert [arrival.run_ms for arrival in recording.arrivals] == [None, None]


async def test_a_server_that_is_emptied_is_looked_at_anew(
    redis: Redis, recorder: Any, pool: ArqRedis, eventually: Eventually
) -> None:
    async with recorder() as recording:
        await pool.enqueue_job("nap", 1)
        await eventually(lambda: recording.arrived == 1)
        await redis.flushall()
        await eventually(lambda: len(recording.arrivals) == 1)


class Process:
    """``arqube record`` in a process of its own."""

    def __init__(self, redis_server: RedisServer, file: Path, *arguments: str) -> None:
        self.file = file
        command = [*ARQUBE, "record", "--redis", redis_server.url, "--queue", QUEUE, "-o", str(file), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    async def end(self, number: signal.Signals | None = signal.SIGINT) -> tuple[int, str]:
        if number is not None:
            self._process.send_signal(number)
        output, _ = await asyncio.to_thread(self._process.communicate, timeout=60)
        return self._process.returncode, output

    async def is_ready(self, redis: Redis) -> bool:
        """It follows when it is a subscriber with tracking on."""
        assert self._process.poll() is None, self._process.communicate()[0]
        return bool(await redis.client_list(_type="pubsub")) and self.file.exists() and self.file.stat().st_size > 0


async def test_a_recording_ended_by_ctrl_c_is_replayed_by_the_simulator(
    redis: Redis, redis_server: RedisServer, pool: ArqRedis, tmp_path: Path, eventually: Eventually
) -> None:
    process = Process(redis_server, tmp_path / "arrivals.csv")
    await eventually(lambda: process.is_ready(redis), within_s=60)
    async with plain_worker(pool):
        for number in range(80):  # long enough to be seen by a process that has to wait for a processor
            await pool.enqueue_job("nap", 0.8 + 0.01 * (number % 5))
        await eventually(lambda: empty(pool), within_s=30)
    await pool.enqueue_job("nap", 1, _defer_by=timedelta(seconds=30))
    await eventually(lambda: len(process.file.read_text().splitlines()) == 81)

    code, output = await process.end()
    assert code == 0, output
    assert "81 jobs in 0:00:" in output
    with process.file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 81
    assert len([row for row in rows if row["run_s"] == ""]) == 1
    assert len(read_load(process.file, 1, None, 1.0).arrivals) == 81

    manifest = tmp_path / "taskqueue.yaml"
    manifest.write_text(
        json.dumps(
            {
                "apiVersion": "arqube.dev/v1alpha1",
                "kind": "TaskQueue",
                "metadata": {"name": "emails"},
                "spec": {"redis": {"host": "redis"}, "worker": {"image": "a", "settings": "app.WorkerSettings"}},
            }
        )
    )
    simulate = [*ARQUBE, "simulate", "-f", str(manifest), "--load", str(process.file), "--against", "keda", "--json"]
    told = await asyncio.to_thread(subprocess.run, simulate, capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["policies"]["arqube"]["interrupted"] == 0


async def test_a_recording_ends_by_itself_and_never_overwrites(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    file = tmp_path / "arrivals.csv"
    code, output = await Process(redis_server, file, "--for", "1s").end(None)
    assert code == 0, output
    assert file.read_text() == "at_s,due_s,run_s\n"

    code, output = await Process(redis_server, file, "--for", "1s").end(None)
    assert code == 1
    assert "exists: remove it, or name another with -o" in output
