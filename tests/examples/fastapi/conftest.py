"""The FastAPI example as it runs: its API in this process, both workers as processes, a real Redis and database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from arqube_local.loopback import free_port
from arqube_local.postgres_server import PostgresServer, find_binaries
from arqube_local.redis_server import RedisServer

EXAMPLE = Path(__file__).parents[3] / "examples" / "fastapi-app"
BIN = Path(sys.executable).parent
READY_S = 60.0
RAN_ON: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if RAN_ON:
        terminalreporter.write_line(f"the FastAPI example ran on {' and '.join(RAN_ON)}")


class ExchangeApi:
    """The service of somebody else: it knows the euro, is twice too busy for the dollar, and has no other currency."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                currency = self.path.removeprefix("/rates/")
                asked[currency] += 1
                busy = currency == "USD" and asked[currency] <= 2
                self.send_response(503 if busy else 200 if currency in ("EUR", "USD") else 404)
                self.end_headers()
                self.wfile.write(b'{"rate": 1.25}')

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ExchangeApi:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class WorkerProcess:
    """``arqube-worker`` on one of the example's settings."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.HTTPError):
            return False

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self.is_ready:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the worker is not ready:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(READY_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Stage:
    """All that runs beside the API."""

    database: str
    environ: dict[str, str]
    redis: RedisServer
    exchange_api: ExchangeApi
    slow: WorkerProcess


@pytest.fixture(scope="package")
def example() -> Iterator[None]:
    """The example's package ``app``, for ``import_module``; other suites may have packages of that name."""
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))
    for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
        del sys.modules[name]


@pytest.fixture(scope="package", params=["SQLite", "PostgreSQL"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, example: None) -> Iterator[Stage]:
    """Both workers on one database. SQLite is always there; PostgreSQL where a server's programs are found."""
    folder = tmp_path_factory.mktemp("stage")
    with ExitStack() as stack:
        if request.param == "SQLite":
            url = f"sqlite+aiosqlite:///{folder}/app.db"
            RAN_ON.append("SQLite")
        else:
            if find_binaries() is None:
                pytest.skip("no PostgreSQL server is installed")
            server = stack.enter_context(PostgresServer(options=("fsync=off",)))
            url = server.url
            RAN_ON.append(server.version)
        redis = stack.enter_context(RedisServer())
        exchange_api = stack.enter_context(ExchangeApi())
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_"))},
            "DATABASE_URL": url,
            "EXCHANGE_API_URL": exchange_api.url,
            "REDIS_QUEUE_HOST": redis.address.host,
            "REDIS_QUEUE_PORT": str(redis.address.port),
        }
        workers = []
        for name in ("WorkerSettings", "SlowWorkerSettings"):
            port, log = free_port(), folder / f"{name}.log"
            command = [BIN / "arqube-worker", f"app.core.worker.settings.{name}", f"--port={port}"]
            with log.open("wb") as output:
                process = subprocess.Popen(command, cwd=EXAMPLE, env=environ, stdout=output, stderr=subprocess.STDOUT)
            workers.append(WorkerProcess(process, port, log))
            stack.callback(workers[-1].stop)
        for worker in workers:
            worker.wait_until_ready()
        yield Stage(request.param, environ, redis, exchange_api, workers[1])


@pytest.fixture
def app(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The API's application, told where database and Redis are."""
    settings = import_module("app.core.config").settings
    for name in ("database_url", "redis_queue_host"):
        monkeypatch.setattr(settings, name, stage.environ[name.upper()])
    monkeypatch.setattr(settings, "redis_queue_port", stage.redis.address.port)
    application: FastAPI = import_module("app.main").app
    return application


@pytest_asyncio.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as client,
    ):
        yield client


@pytest.fixture
def ended(api: httpx.AsyncClient, eventually: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Wait until a task has ended, and give all that is told of it."""

    async def wait(task_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            answer = await api.get(f"/tasks/{task_id}")
            task: dict[str, Any] = answer.json()
            return task if task.get("ended_at") else None

        found: dict[str, Any] = await eventually(look, within_s=READY_S)
        return found

    return wait
