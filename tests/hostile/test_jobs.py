"""Jobs and hooks that attack the worker they run in: each ends in a way that is told, and its neighbours run on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job

from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters

KIND = "jobs and hooks"
APPS = Path(__file__).parent / "apps"
QUEUE = "arq:queue"
WAIT_S = 60.0
DATABASE = 1
"""Of workers that a test starts: the one of the whole table would take their jobs."""

Eventually = Callable[..., Awaitable[Any]]


class HostileWorker:
    """``arqube-worker`` with one of the settings of ``hostile_jobs``, on a Redis that no other test empties."""

    def __init__(self, redis: RedisServer, settings: str, folder: Path, database: int = 0) -> None:
        self._address = redis.address
        self._settings = settings
        self._database = database
        self.log = folder / f"{settings}.log"
        self.last_words = folder / f"{settings}.termination"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ARQUBE_")},
            "ARQUBE_REDIS_HOST": self._address.host,
            "ARQUBE_REDIS_PORT": str(self._address.port),
            "ARQUBE_REDIS_DATABASE": str(self._database),
            "ARQUBE_HTTP_PORT": "0",
            "ARQUBE_LEASE": "1",
            "ARQUBE_SHUTDOWN_TIMEOUT": "5",
            "ARQUBE_TERMINATION_LOG": str(self.last_words),
        }
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", "arqube_worker", f"hostile_jobs.{self._settings}"]
            self._process = subprocess.Popen(command, cwd=APPS, env=environ, stdout=output, stderr=output)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait, WAIT_S)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(WAIT_S)


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared_worker(own_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileWorker]:
    """One worker for the whole table: what one job breaks, the next would notice."""
    worker = HostileWorker(own_redis, "WorkerSettings", tmp_path_factory.mktemp("worker"))
    yield worker
    worker.end()


@pytest.fixture
def start(own_redis: RedisServer, tmp_path: Path) -> Iterator[Callable[[str], HostileWorker]]:
    workers: list[HostileWorker] = []

    def begin(settings: str) -> HostileWorker:
        workers.append(HostileWorker(own_redis, settings, tmp_path, DATABASE))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.end()


@pytest_asyncio.fixture
async def client(own_redis: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[ArqRedis]:
    database = DATABASE if "start" in request.fixturenames else 0
    address = own_redis.address
    client = await create_pool(RedisSettings(host=address.host, port=address.port, database=database))
    yield client
    await client.aclose(close_connection_pool=True)


async def enqueue(client: ArqRedis, function: str, *arguments: Any) -> Job:
    job = await client.enqueue_job(function, *arguments)
    assert job is not None
    return job


async def death(client: ArqRedis, job: Job) -> tuple[str, str] | None:
    """Reason and error of the job's dead letter."""
    found = await dead_letters.read(client, QUEUE, job.job_id)
    return (found.letter.reason, found.letter.error) if found else None


UNTOLD = object()
"""As under arq: the job ran, and its result is told to be none that can be written."""

CASES = {
    "it raises SystemExit": ("exit", "SystemExit"),
    "it raises KeyboardInterrupt": ("interrupt", "KeyboardInterrupt"),
    "it raises what is no Exception": ("odd", "Odd: not an Exception"),
    "it raises GeneratorExit": ("generator exit", "GeneratorExit"),
    "it raises StopIteration": ("stop iteration", "RuntimeError: coroutine raised StopIteration"),
    "it raises StopAsyncIteration": ("stop async iteration", "StopAsyncIteration"),
    "it raises MemoryError": ("memory", "MemoryError"),
    "it recurses without end": ("recursion", "RecursionError"),
    "its error cannot be told": ("mute", "MuteError"),
    "its error ends the process when it is told": ("ending", "JobExecutionFailed"),
    "its error cannot be pickled": ("unwritable error", "UnwritableError: 1"),
    "its error has 20 MB of text": ("long error", "ValueError: xxx"),
    "its error holds what is no text": ("secretive error", "ValueError"),
    "it raises a group of errors": ("group", "BaseExceptionGroup"),
    "it raises a timeout that is none of ours": ("timeout", "TimeoutError"),
    "it asks for a retry at no time": ("broken retry", "JobExecutionFailed"),
    "it asks for a retry at the end of time": ("endless retry", "OverflowError"),
    "more of its error cannot be told": ("broken extra", "ValueError: with more to tell"),
    "more of its error ends the process": ("leaving extra", "ValueError: with more to tell"),
    "it returns a lambda": ("lambda", UNTOLD),
    "it returns a lock": ("lock", UNTOLD),
    "it returns what refuses to be pickled": ("refusing", UNTOLD),
    "it returns what ends the process when pickled": ("leaving", "JobExecutionFailed"),
    "it returns lists 200,000 deep": ("nested", UNTOLD),
    "it returns 50 MB": ("large", None),
    "it cancels its own task and returns": ("cancel itself", None),
    "it cancels its own task and waits": ("cancel itself and wait", "max 2 retries exceeded"),
    "it closes the loop": ("close the loop", "RuntimeError"),
    "it closes its pool": ("close the pool", None),
    "it empties its context": ("empty its context", None),
    "it empties the environment and changes the folder": ("empty the environment", None),
    "it forks": ("fork", None),
    "it opens files until there are no more": ("exhaust files", "OSError"),
    "it prints 10 MB": ("print", None),
    "it leaves a task that fails": ("leave a failing task", None),
    "it changes the loop's handlers": ("change the loop", None),
    "it takes the logs away": ("silence logs", None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_job_harms_itself_alone(
    shared_worker: HostileWorker, client: ArqRedis, eventually: Eventually, case: tuple[str, str | None]
) -> None:
    way, error = case
    neighbour = await enqueue(client, "neighbour")
    job = await enqueue(client, "misbehave", way)
    if error is None:
        info = await eventually(job.result_info, within_s=WAIT_S)
        assert info.success, info.result
    elif error is UNTOLD:
        info = await eventually(job.result_info, within_s=WAIT_S)
        assert not info.success
        assert "unable to serialize result" in str(info.result)
    else:
        reason, told = await eventually(lambda: death(client, job), within_s=WAIT_S)
        assert reason in ("failed", "tries_exhausted")
        assert error in told
    assert await neighbour.result(timeout=WAIT_S) == "unharmed"
    # Both slots are free again: one that leaked would let this wait for ever.
    after = [await enqueue(client, "neighbour") for _ in range(4)]
    assert [await each.result(timeout=WAIT_S) for each in after] == ["unharmed"] * 4
    assert shared_worker.process.poll() is None, shared_worker.log.read_text()[-2000:]


ENDS_OF_WORKERS = {
    "it stops the loop": ("stop_the_loop", 1, "Event loop stopped"),
    "a task of its own exits with 3": ("exit_from_a_task", 1, "SystemExit: 3"),
    "it cancels every task there is": ("cancel_everything", 1, "cancelled the worker"),
}


@pytest.mark.parametrize("case", ENDS_OF_WORKERS.values(), ids=ENDS_OF_WORKERS.keys())
async def test_what_ends_the_worker_ends_it_in_order(
    start: Callable[[str], HostileWorker], client: ArqRedis, case: tuple[str, int, str]
) -> None:
    """The job is done, nothing stays leased, and the last words say why."""
    function, code, words = case
    job = await enqueue(client, function)
    worker = start("Deadly")
    assert await worker.exit_code() == code, worker.log.read_text()
    assert words in worker.last_words.read_text()
    assert "Traceback" not in worker.log.read_text()
    assert (await job.result_info()) is not None
    assert await client.keys("arq:in-progress:*") == []


async def test_a_job_that_kills_its_worker_has_its_tries_and_no_more(
    start: Callable[[str], HostileWorker], client: ArqRedis, eventually: Eventually
) -> None:
    job = await enqueue(client, "vanish")
    worker = start("Deadly")
    for _ in range(2):
        assert await worker.exit_code() == 9
        worker.start()
    reason, _ = await eventually(lambda: death(client, job), within_s=WAIT_S)
    assert reason == "tries_exhausted"
    assert await (await enqueue(client, "neighbour")).result(timeout=WAIT_S) == "unharmed"


async def test_hooks_that_raise_what_ends_processes_harm_no_job(
    start: Callable[[str], HostileWorker], client: ArqRedis
) -> None:
    worker = start("HostileHooks")
    for _ in range(12):
        assert await (await enqueue(client, "neighbour")).result(timeout=WAIT_S) == "unharmed"
    worker.process.terminate()
    assert await worker.exit_code() == 1, "on_shutdown failed"
    assert "on_shutdown failed: SystemExit: 6" in worker.last_words.read_text()


async def test_a_beginning_that_raises_what_ends_processes_uses_the_tries_up(
    start: Callable[[str], HostileWorker], client: ArqRedis, eventually: Eventually
) -> None:
    job = await enqueue(client, "neighbour")
    worker = start("HostileBeginning")
    reason, _ = await eventually(lambda: death(client, job), within_s=WAIT_S)
    assert reason == "tries_exhausted"
    assert worker.process.poll() is None


STARTS = {
    "it exits with 0": ("ExitsAtStart", "on_startup failed: SystemExit: 0"),
    "it cancels itself": ("CancelledAtStart", "on_startup failed: RuntimeError: it cancelled itself"),
    "it cannot be awaited": ("SyncStart", "on_startup failed: TypeError"),
}


@pytest.mark.parametrize("case", STARTS.values(), ids=STARTS.keys())
async def test_a_start_up_that_does_not_end_well_is_told_and_takes_no_job(
    start: Callable[[str], HostileWorker], client: ArqRedis, case: tuple[str, str]
) -> None:
    settings, words = case
    job = await enqueue(client, "neighbour")
    worker = start(settings)
    assert await worker.exit_code() == 1, worker.log.read_text()
    assert words in worker.last_words.read_text()
    assert await client.zscore(QUEUE, job.job_id) is not None
    await client.zrem(QUEUE, job.job_id)
