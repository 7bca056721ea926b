"""The projects of ``tests/projects``, and workers that run them as they are."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool

from arqube_local.redis_server import RedisServer

PROJECTS = Path(__file__).parents[2] / "projects"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Shape:
    """A project, what it is told, and what comes of it.

    Attributes:
        folder: Its name.
        settings: What a worker is given.
        source: Where it is started, below the folder.
        host, port, url: Names of the variables by which it finds Redis; None for those that it does not read.
        queue: Its queue.
        jobs: Each with its arguments and its result.
        codec: The module with ``dumps`` and ``loads``, where payloads are no pickles.
    """

    folder: str
    settings: str
    source: str = ""
    host: str | None = "REDIS_HOST"
    port: str | None = "REDIS_PORT"
    url: str | None = None
    queue: str = "arq:queue"
    jobs: tuple[tuple[str, tuple[Any, ...], Any], ...] = ()
    codec: str | None = None

    @property
    def path(self) -> Path:
        """The project."""
        return PROJECTS / self.folder

    def environment(self, server: RedisServer) -> dict[str, str]:
        """What tells it where Redis is."""
        host, port = server.address.host, str(server.address.port)
        named = {self.host: host, self.port: port, self.url: f"redis://{host}:{port}/0"}
        return {name: value for name, value in named.items() if name is not None}

    def __str__(self) -> str:
        return f"{self.folder}: {self.settings.rpartition('.')[2]}"


@dataclass
class Worker:
    """A worker in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """All that it has written."""
        return self.log.read_text()

    def stop(self) -> None:
        """Ask it to stop, as Kubernetes does."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """See to it that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@dataclass
class Starter:
    """Starts workers, and ends them after the test."""

    server: RedisServer
    folder: Path
    started: list[Worker] = field(default_factory=list)

    def __call__(
        self,
        shape: Shape,
        *,
        plain: bool = False,
        environ: Mapping[str, str] | None = None,
        settings: str | None = None,
    ) -> Worker:
        """Run ``shape`` under our worker, or under plain arq."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_"))}
        variables = {**others, **shape.environment(self.server), "ARQUBE_HTTP_PORT": "0", **(environ or {})}
        log = self.folder / f"worker-{len(self.started)}.log"
        command = [str(BIN / ("arq" if plain else "arqube-worker")), settings or shape.settings]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=shape.path / shape.source,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(Worker(process, log))
        return self.started[-1]


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(redis_server, tmp_path)
    yield starter
    for worker in starter.started:
        worker.end()


@pytest.fixture
def producer(redis: Any, redis_server: RedisServer) -> Callable[[Shape], Any]:
    """A client as the project's own producers make one, of an empty database."""

    @asynccontextmanager
    async def connect(shape: Shape) -> AsyncIterator[ArqRedis]:
        address = redis_server.address
        codec = _load(shape.path / shape.codec) if shape.codec else None
        pool = await create_pool(
            RedisSettings(host=address.host, port=address.port),
            default_queue_name=shape.queue,
            job_serializer=codec and codec.dumps,
            job_deserializer=codec and codec.loads,
        )
        try:
            yield pool
        finally:
            await pool.aclose(close_connection_pool=True)

    return connect


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
