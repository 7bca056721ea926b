"""Workers of a release and of today on one queue, under load: nothing is lost, nothing that ended well runs again.

As in a rolling update: the first ones run, the others come, the first ones go; from the release to today and back. What
ran is told by a file beside Redis.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job
from tests.integration.worker.conftest import WorkerProcess

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, heartbeat, job_records, keys
from arqube_queue.job_records import JobState
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from builders.releases import ROOT, Release

pytestmark = pytest.mark.timeout(300)

SLOW_S = 60.0
JOBS = 400
SHOW = "import arqube_queue, arqube_worker, arqube_operator, arqube_local; print(arqube_worker.__file__)"
COMMAND = "from arqube_local.cli import main; main()"
MARK = """
import asyncio, sys
from arqube_queue.connection import RedisAddress
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

async def main():
    async with RedisAddress.from_url(sys.argv[1]).connect() as redis:
        await read_snapshots(redis, [SnapshotQuery("arq:queue", retiring=frozenset(sys.argv[2:]), owner="u-1")])

asyncio.run(main())
"""
WAYS = pytest.mark.parametrize(
    ("first", "then"),
    [pytest.param("released", "today's", id="an upgrade"), pytest.param("today's", "released", id="a rollback")],
)

Start = Callable[..., WorkerProcess]


@pytest_asyncio.fixture
async def client(redis: Any, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client of an empty database."""
    pool = await create_pool(RedisSettings(port=redis_server.address.port))
    yield pool
    await pool.aclose(close_connection_pool=True)


@pytest.fixture
def start(released: Release, redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """``start("released", "name")``: a worker of that version."""
    workers: list[WorkerProcess] = []

    def begin(version: str, name: str, **variables: str) -> WorkerProcess:
        port = free_port()
        environment = {
            **released.environment(),
            "REDIS_QUEUE_PORT": str(redis_server.address.port),
            "ARQUBE_HTTP_PORT": str(port),
            "ARQUBE_WORKER_NAME": name,
            "ARQUBE_CONCURRENCY": "5",
            **variables,
        }
        if version == "today's":
            del environment["PYTHONPATH"]
        python = released.python if version == "released" else sys.executable
        command = [str(python), "-m", "arqube_worker", "worker_settings.Mixed"]
        workers.append(WorkerProcess(command, environment, tmp_path / f"{name}.log", port))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.end()


@pytest.fixture
def ready(eventually: Any) -> Any:
    async def wait(*workers: WorkerProcess) -> None:
        for worker in workers:
            await eventually(lambda worker=worker: worker.get("/readyz")[0] == 200, within_s=SLOW_S)

    return wait


def test_the_releases_programs_are_the_releases(released: Release) -> None:
    assert str(released.folder) in released.run("-c", SHOW)


@WAYS
async def test_a_rolling_update_under_load_loses_and_repeats_nothing(
    released: Release,
    start: Start,
    ready: Any,
    client: ArqRedis,
    redis_server: RedisServer,
    eventually: Any,
    tmp_path: Path,
    first: str,
    then: str,
) -> None:
    ends, go = tmp_path / "ends", tmp_path / "go"
    ends.touch()
    expected: dict[str, int] = {}
    failing: set[str] = set()
    producing = asyncio.create_task(produce(client, ends, expected, failing))
    leaving = [start(first, f"first-{number}") for number in range(2)]
    await ready(*leaving)
    held = await client.enqueue_job("hold_until_file", str(go))
    assert held is not None
    await eventually(lambda: any(held.job_id in worker.text for worker in leaving), within_s=SLOW_S)
    coming = [start(then, f"then-{number}") for number in range(2)]
    await ready(*coming)
    doomed = [await client.enqueue_job("hold_until", "never") for _ in range(4)]
    both = len(ends.read_text().splitlines())
    await eventually(lambda: len(ends.read_text().splitlines()) > both + 50, within_s=SLOW_S)
    assert all(await asyncio.gather(*(job.abort(timeout=SLOW_S, poll_delay=0.2) for job in doomed if job)))

    for worker in leaving:
        worker.signal(signal.SIGTERM)
    go.touch()
    assert [await worker.exit_code(SLOW_S) for worker in leaving] == [0, 0]
    await producing

    async def drained() -> bool:
        return not await client.zcard(keys.DEFAULT_QUEUE)

    await eventually(drained, within_s=SLOW_S)
    assert await held.result(timeout=1) == "done"
    runs = Counter(ends.read_text().splitlines())
    assert runs == {f"{job_id}:{number}": 1 for job_id, tries in expected.items() for number in range(1, tries + 1)}
    assert all(worker.logged("job ended") for worker in leaving)
    assert all(worker.logged("job ended") for worker in coming)
    await assert_told(client, expected, failing)
    assert_both_read_the_same(released, redis_server.url)
    for pattern in ("arq:in-progress:*", "arq:retry:*", "arq:job:*"):
        assert await client.keys(pattern) == []


async def produce(client: ArqRedis, ends: Path, expected: dict[str, int], failing: set[str]) -> None:
    """Enqueue jobs of each kind, a few at a time, for as long as workers come and go."""
    chance = random.Random(6)  # noqa: S311 - moments, not secrets
    for number in range(JOBS):
        tries = chance.choice([2, 3]) if number % 4 == 0 else 1
        message = "as asked" if number % 6 == 0 else ""
        defer_by = timedelta(seconds=chance.uniform(0, 2)) if number % 5 == 0 else None
        arguments = (str(ends), chance.uniform(0, 0.05), tries, message)
        job = await client.enqueue_job("sign_off", *arguments, _defer_by=defer_by)
        assert job is not None
        expected[job.job_id] = tries
        if message:
            failing.add(job.job_id)
        await asyncio.sleep(0.01)


async def assert_told(client: ArqRedis, expected: dict[str, int], failing: set[str]) -> None:
    """Results, dead letters and records tell of each job what became of it, whichever version ran it."""
    results = {job_id: await Job(job_id, client).result_info() for job_id in expected}
    assert {job_id for job_id, result in results.items() if result and not result.success} == failing
    assert {job_id: result.job_try for job_id, result in results.items() if result} == expected
    for job_id, tries in expected.items():
        record = await job_records.read_job(client, keys.DEFAULT_QUEUE, job_id)
        assert record is not None
        assert record.state == (JobState.FAILED if job_id in failing else JobState.SUCCEEDED)
        assert len(record.tries) == tries
    for job_id in failing:
        remains = await dead_letters.read(client, keys.DEFAULT_QUEUE, job_id)
        assert remains is not None
        assert remains.payload


def assert_both_read_the_same(released: Release, url: str) -> None:
    today = Release("today's", "", ROOT, Path(sys.executable))
    for question in (("dlq", "list", "--all"), ("jobs", "list", "--limit", "2000"), ("queues",), ("workers",)):
        arguments = ("-c", COMMAND, *question, "--redis", url, "--output", "json")
        told = [steady(json.loads(each.run(*arguments))) for each in (released, today)]
        assert told[0] == told[1], question
        assert told[0], question


def steady(told: Any) -> Any:
    """Without when a worker was last seen, which is another moment at each look."""
    if isinstance(told, dict):
        return {name: steady(value) for name, value in told.items() if name != "seen_at"}
    return [steady(each) for each in told] if isinstance(told, list) else told


@WAYS
async def test_a_killed_workers_job_is_taken_over(
    start: Start, ready: Any, client: ArqRedis, eventually: Any, tmp_path: Path, first: str, then: str
) -> None:
    go = tmp_path / "go"
    killed = start(first, "killed", ARQUBE_LEASE="3")
    await ready(killed)
    held = await client.enqueue_job("hold_until_file", str(go))
    assert held is not None
    await eventually(lambda: killed.logged("job started"))
    heir = start(then, "heir", ARQUBE_LEASE="3")
    await ready(heir)
    killed.signal(signal.SIGKILL)
    await eventually(lambda: heir.logged("job started"), within_s=SLOW_S)
    go.touch()

    assert await held.result(timeout=SLOW_S, poll_delay=0.05) == "done"
    record = await job_records.read_job(client, keys.DEFAULT_QUEUE, held.job_id)
    assert record is not None
    assert [(one.worker, str(one.outcome)) for one in record.tries] == [("killed", "lost"), ("heir", "succeeded")]


@WAYS
async def test_a_worker_heeds_the_mark_of_the_other_versions_operator(
    released: Release,
    start: Start,
    ready: Any,
    client: ArqRedis,
    redis_server: RedisServer,
    eventually: Any,
    first: str,
    then: str,
) -> None:
    worker = start(first, "marked")
    await ready(worker)

    async def mark() -> bool:
        if then == "released":
            await asyncio.to_thread(released.run, "-c", MARK, redis_server.url, "marked")
        else:
            query = SnapshotQuery(keys.DEFAULT_QUEUE, retiring=frozenset({"marked"}), owner="u-1")
            await read_snapshots(client, [query])
        return [beat.retiring for beat in await heartbeat.read(client, keys.DEFAULT_QUEUE)] == [True]

    await eventually(mark, within_s=SLOW_S, every_s=0.5)
