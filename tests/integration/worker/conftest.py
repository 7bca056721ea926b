"""Worker processes for the suite: ours and plain arq's, run in the folder of the test app."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from builders.worker_process import BIN, WorkerProcess

StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def environ(redis_server: RedisServer) -> dict[str, str]:
    """What the test app needs to find Redis by itself, as the template's apps do."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_"))},
        "REDIS_QUEUE_HOST": redis_server.address.host,
        "REDIS_QUEUE_PORT": str(redis_server.address.port),
        "ARQUBE_UNKNOWN_FUNCTION_GRACE": "0",  # as plain arq
    }


@pytest.fixture
def start_worker(environ: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Start ``arqube-worker <module>.<settings>``, or plain ``arq`` with ``plain=True``."""
    workers: list[WorkerProcess] = []

    def start(
        settings: str = "WorkerSettings",
        *,
        module: str = "worker_settings",
        plain: bool = False,
        prefix: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> WorkerProcess:
        port = free_port()
        command = [*prefix, str(BIN / ("arq" if plain else "arqube-worker")), f"{module}.{settings}"]
        variables = {**environ, "ARQUBE_HTTP_PORT": str(port), **(environment or {})}
        workers.append(WorkerProcess(command, variables, tmp_path / f"worker-{len(workers)}.log", port))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


@pytest_asyncio.fixture
async def arq_client(redis: Any, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client of an empty database."""
    address = redis_server.address
    client = await create_pool(RedisSettings(host=address.host, port=address.port))
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
def ready(eventually: Any) -> Any:
    """Wait until workers take jobs."""

    async def wait(*workers: WorkerProcess) -> None:
        for worker in workers:
            await eventually(lambda worker=worker: worker.get("/readyz")[0] == 200 or worker.process.poll() is not None)
            assert worker.process.poll() is None, worker.text

    return wait
