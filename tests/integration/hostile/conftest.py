"""A Redis and workers that live through a whole table of hostile data, so that each case costs a moment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from builders.worker_process import BIN, WorkerProcess

MEMORY_KB = 4 * 1024 * 1024

Start = Callable[..., WorkerProcess]


@pytest.fixture(scope="module")
def hostile_server() -> Iterator[RedisServer]:
    """A server of the module's own: its workers outlive each test."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def start(hostile_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start ``arqube-worker <settings>`` on the queue of the tests."""
    workers: list[WorkerProcess] = []
    folder = tmp_path_factory.mktemp("workers")

    def begin(settings: str, **environment: str) -> WorkerProcess:
        port = free_port()
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_"))},
            "REDIS_QUEUE_HOST": hostile_server.address.host,
            "REDIS_QUEUE_PORT": str(hostile_server.address.port),
            "ARQUBE_HTTP_PORT": str(port),
            "ARQUBE_UNKNOWN_FUNCTION_GRACE": "0",
            **environment,
        }
        log: Path = folder / f"worker-{len(workers)}.log"
        # With an end to its memory: a pickle may ask for all there is, and the machine is not the worker's alone.
        limited = ["sh", "-c", f'ulimit -v {MEMORY_KB}; exec "$@"', "sh"]
        command = [*limited, str(BIN / "arqube-worker"), f"hostile_settings.{settings}"]
        workers.append(WorkerProcess(command, environ, log, port))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.end()


@pytest_asyncio.fixture
async def hostile_redis(hostile_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    client = hostile_server.address.connect()
    await client.flushall()
    yield client
    await client.aclose()
