"""The run on this machine: the laptop cluster, a real PostgreSQL, a Redis that keeps all, and three API processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from arqube_local.cluster import LaptopCluster
from arqube_local.loopback import free_port
from arqube_local.postgres_server import PostgresServer
from arqube_local.processes.guard import GuardedProcess, ProcessGuard
from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import PODS, TASK_QUEUES, KubeClient
from benchmarks.fastapi import records
from benchmarks.fastapi.client import Ledger
from benchmarks.fastapi.faults import Fault
from benchmarks.fastapi.stage import NotReadyError
from benchmarks.fastapi.verdict import Records

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "examples/fastapi-app"
PARTS: Final = Path(__file__).parent / "parts"
NAMESPACE: Final = "default"
NAME: Final = "fast"
WORKERS: Final = 2
API_PROCESSES: Final = 3
READY_S: Final = 90.0
DOWN_S: Final = 2.0
"""How long what was killed stays away."""
OPTIONS: Final = ("--no-access-log", "--limit-concurrency=100")
KEEPS_ALL: Final = ("--appendonly", "yes", "--appendfsync", "always")


class Api:
    """A process of the API, started again whenever it has ended."""

    def __init__(self, guard: ProcessGuard, environment: dict[str, str], log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process: GuardedProcess
        self.log = log
        self._guard = guard
        self._environment = environment
        self._command = (sys.executable, "-m", "uvicorn", "bench_api:app", *OPTIONS, f"--port={port}")

    async def run(self) -> None:
        """Keep it running until cancelled."""
        while True:
            self.process = await self._guard.start(
                self._command, environment=self._environment, folder=EXAMPLE, log=self.log
            )
            await self.process.wait()
            await asyncio.sleep(DOWN_S)

    async def until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            NotReadyError: It does not in time.
        """
        deadline = time.monotonic() + READY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while time.monotonic() < deadline:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/healthz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.2)
        raise NotReadyError(f"the API was not ready within {READY_S:g} s; its log ends:\n{_tail(self.log)}")


class Laptop:
    """The stage on this machine."""

    def __init__(
        self, cluster: LaptopCluster, database: PostgresServer, redis: RedisServer, guard: ProcessGuard
    ) -> None:
        self.apis: list[Api] = []
        self._kube: KubeClient = cluster.client
        self._database = database
        self._redis = redis
        self._guard = guard
        self._victims = itertools.count()

    @property
    def versions(self) -> tuple[str, ...]:
        """What PostgreSQL and Redis call themselves."""
        return self._database.version, self._redis.version

    async def load(self, *, rate: float, seconds: float, run: str, path: str) -> Ledger:
        """Create users from a process of their own, which runs nothing else."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.fastapi.client", *(api.url for api in self.apis)),
            *(f"--rate={rate}", f"--seconds={seconds}", f"--run={run}", f"--path={path}"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ledger.from_json(json.loads(told))

    async def inflict(self, fault: Fault) -> bool:
        """Kill by process id; delete a pod where a worker is to be asked to stop."""
        if fault in (Fault.DATABASE_KILLED, Fault.DATABASE_STOPPED):
            stop = self._database.kill if fault is Fault.DATABASE_KILLED else self._database.stop_immediately
            await asyncio.to_thread(stop)
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(self._database.start)
            self._watch(self._database.pid)
        elif fault in (Fault.REDIS_KILLED, Fault.REDIS_RESTARTED):
            if fault is Fault.REDIS_KILLED and self._redis.pid is not None:
                os.kill(self._redis.pid, signal.SIGKILL)
            await asyncio.to_thread(self._redis.stop)
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(self._redis.start)
            self._watch(self._redis.pid)
        elif fault is Fault.API_KILLED:
            os.kill(self.apis[next(self._victims) % len(self.apis)].process.pid, signal.SIGKILL)
        else:
            return await self._strike_worker(fault)
        return True

    async def left(self) -> tuple[int, int]:
        """Jobs that are committed and not yet in Redis, and those in Redis."""
        return await records.left(self._database.url, self._redis.url)

    async def records(self) -> Records:
        """What is left."""
        return await records.read(self._database.url, self._redis.url)

    async def empty(self) -> None:
        """Forget all users, mails and counts."""
        await records.empty(self._database.url, self._redis.url)

    async def until_ready(self) -> None:
        """Wait for all processes of the API, and for the workers.

        Raises:
            NotReadyError: They are not ready in time.
        """
        for api in self.apis:
            await api.until_ready()
        deadline = time.monotonic() + READY_S
        while len(await self._workers()) < WORKERS:
            if time.monotonic() > deadline:
                found = await self._kube.get(TASK_QUEUES, NAMESPACE, NAME) or {}
                raise NotReadyError(f"no {WORKERS} workers within {READY_S:g} s: {found.get('status')}")
            await asyncio.sleep(0.5)

    async def _strike_worker(self, fault: Fault) -> bool:
        workers = await self._workers()
        if not workers:
            return False
        name, pid = workers[next(self._victims) % len(workers)]
        if fault is Fault.WORKER_TERMINATED:
            await self._kube.delete(PODS, NAMESPACE, name)
        else:
            os.kill(pid, signal.SIGKILL)
        return True

    async def _workers(self) -> list[tuple[str, int]]:
        """The ready workers: the pod's name and the process id of each."""
        pods, _ = await self._kube.list(PODS, NAMESPACE)
        return [
            (pod["metadata"]["name"], int(container["containerID"].removeprefix("process://")))
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            for container in pod.get("status", {}).get("containerStatuses", ())
            if container.get("ready") and "running" in container.get("state", {})
        ]

    def _watch(self, pid: int | None) -> None:
        if pid is not None:
            self._guard.watch(pid)


@asynccontextmanager
async def staged() -> AsyncIterator[Laptop]:
    """Start all of it, and stop it again.

    Raises:
        NotReadyError: Something did not start.
    """
    os.environ["PYTHONPATH"] = f"{EXAMPLE}:{PARTS}"  # Pods of the laptop cluster see it, too.
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arqube-fastapi-")))
        guard = stack.enter_context(ProcessGuard())
        database = stack.enter_context(PostgresServer(options=("max_connections=200",)))
        redis = stack.enter_context(RedisServer(folder=folder / "kept", options=KEEPS_ALL))
        for pid in (database.pid, redis.pid):
            if pid is not None:
                guard.watch(pid)
        cluster = await stack.enter_async_context(LaptopCluster(state_dir=folder / "cluster", app_dir=EXAMPLE))
        settings = {
            "DATABASE_URL": database.url,
            "REDIS_QUEUE_HOST": redis.address.host,
            "REDIS_QUEUE_PORT": str(redis.address.port),
        }
        laptop = Laptop(cluster, database, redis, guard)
        for number in range(API_PROCESSES):
            api = Api(guard, {**os.environ, **settings}, folder / f"api-{number}.log")
            laptop.apis.append(api)
            stack.push_async_callback(_cancel, asyncio.create_task(api.run()))
        await laptop.apis[0].until_ready()  # It makes the tables.
        await cluster.client.apply(
            TASK_QUEUES, NAMESPACE, NAME, _task_queue(redis, settings), field_manager="benchmark"
        )
        await laptop.until_ready()
        yield laptop


def _task_queue(redis: RedisServer, settings: dict[str, str]) -> dict[str, Any]:
    settings = {**settings, "ARQUBE_UVLOOP": "true", "ARQUBE_LOG_LEVEL": "WARNING"}
    variables = [{"name": name, "value": value} for name, value in settings.items()]
    return {
        "apiVersion": TASK_QUEUES.api_version,
        "kind": TASK_QUEUES.kind,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "redis": {"host": redis.address.host, "port": redis.address.port},
            "worker": {
                "image": "fastapi-app:1",
                "settings": "bench_worker.WorkerSettings",
                "concurrency": 10,
                "podTemplate": {"spec": {"containers": [{"name": "worker", "env": variables}]}},
            },
            "scaling": {"minReplicas": WORKERS, "maxReplicas": WORKERS + 1},
            "shutdown": {"timeout": "10s"},
        },
    }


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-3000:] if path.exists() else "(nothing)"
