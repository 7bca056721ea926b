"""Worker processes for the suite: ours and plain arq's, run in the folder of the test app."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer

APPS = Path(__file__).parents[1] / "apps"
BIN = Path(sys.executable).parent


class WorkerProcess:
    """A worker in a process of its own; its output goes to a file."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path, port: int) -> None:
        self.port = port
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=APPS, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged; a line that is not JSON fails the test."""
        return [json.loads(line) for line in self.text.splitlines()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, series: str) -> float:
        """The value of one series, written as in the exposition; 0 when it is not there."""
        for line in self.get("/metrics")[1].splitlines():
            if line.rpartition(" ")[0] == series:
                return float(line.rpartition(" ")[2])
        return 0.0

    def signal(self, signum: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(signum)

    async def exit_code(self, within_s: float = 25) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


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
