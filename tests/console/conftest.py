"""The console over TaskQueues as a watch tells of them, and queues in a real Redis that the operator reads."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from arq.jobs import serialize_job
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.console.routes import Console
from arqube_operator.console.view import View
from arqube_operator.metrics import Metrics
from arqube_operator.observe.cluster import ClusterCache, Key
from arqube_operator.observe.queues import QueueObserver
from arqube_operator.settings import ConsoleSettings
from arqube_queue import heartbeat, job_tries, keys
from arqube_queue.connection import RedisAddress
from arqube_queue.model import Heartbeat
from arqube_queue.snapshot import SnapshotQuery
from builders.browser import NAMES, find_chromium

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of a console that lives as long as a test
TRACEBACK = 'Traceback (most recent call last):\n  File "mail.py", line 3, in send\nValueError: no such mail\n'
SHOP = Key("shop", "emails")

Eventually = Callable[..., Awaitable[Any]]


def stamp(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": stamp(time.time()),
    }


@dataclass
class Scene:
    """What the operator knows; ``cache`` is fed as its watches do."""

    redis: Redis
    address: RedisAddress
    cache: ClusterCache
    observer: QueueObserver
    eventually: Eventually
    versions: int = 0
    known: list[Key] = field(default_factory=list)

    def version(self) -> str:
        self.versions += 1
        return str(self.versions)

    def task_queue(self, key: Key = SHOP, *, status: dict[str, Any] | None = None, **spec: Any) -> None:
        metadata = {
            "namespace": key.namespace,
            "name": key.name,
            "uid": f"uid-of-{key.name}",
            "generation": 1,
            "resourceVersion": self.version(),
        }
        body = {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": metadata,
            "spec": {
                "redis": {"host": "redis"},
                "queueName": f"arq:{key.name}",
                "worker": {"image": "registry.example/app:1.4.2", "settings": "app.WorkerSettings"},
                **spec,
            },
            "status": status or {},
        }
        self.cache.put_task_queue(body)

    def workers(self, key: Key, ready: int, wanted: int, *pods: dict[str, Any]) -> None:
        labels = {"app.kubernetes.io/managed-by": "arqube-operator", "arqube.dev/taskqueue": key.name}

        def metadata(name: str) -> dict[str, Any]:
            created = stamp(time.time() - 600)
            return {
                "namespace": key.namespace,
                "name": name,
                "labels": labels,
                "creationTimestamp": created,
                "resourceVersion": self.version(),
                "generation": 1,
            }

        live = {"replicas": wanted, "readyReplicas": ready}
        self.cache.put_deployment(
            {"metadata": metadata(f"{key.name}-worker"), "spec": {"replicas": wanted}, "status": live}
        )
        for pod in pods:
            self.cache.put_pod({"metadata": metadata(pod["name"]), "status": pod.get("status", {})})

    def query(self, key: Key) -> SnapshotQuery:
        return SnapshotQuery(f"arq:{key.name}", owner=f"uid-of-{key.name}")

    async def read(self, key: Key = SHOP) -> None:
        """Have the operator read the queue, and again what comes to it from now on."""
        self.observer.watch(key, self.address, self.query(key))
        await self.eventually(lambda: self.observer.reading(key).snapshot, within_s=30)

    async def read_anew(self, key: Key = SHOP) -> None:
        """Wait until the operator has read what is in the queue now."""
        seconds, microseconds = await self.redis.time()
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        await self.eventually(lambda: (known := self.observer.reading(key).snapshot) and known.at_ms > now_ms)

    async def wait(self, jobs: int, key: Key = SHOP) -> None:
        due = int(time.time() * 1000) - 12_000
        await self.redis.zadd(f"arq:{key.name}", {f"job-{number}": due for number in range(jobs)})

    async def run(self, jobs: int, key: Key = SHOP) -> None:
        """Have the first of those that wait run, as a worker's lease shows them."""
        for number in range(jobs):
            await self.redis.set(f"arq:in-progress:job-{number}", "1")

    async def bury(self, job_id: str, key: Key = SHOP, *, age_s: float = 90, **fields: Any) -> None:
        """Write a dead letter as a worker does."""
        queue, died_ms = f"arq:{key.name}", int((time.time() - age_s) * 1000)
        letter = {
            "payload": serialize_job("send_email", ("user-17",), {"retry": 3}, None, died_ms - 5000),
            "reason": "failed",
            "function": "send_email",
            "error": "ValueError: no such mail",
            "traceback": TRACEBACK,
            "tries": 5,
            "enqueued_ms": died_ms - 5000,
            "died_ms": died_ms,
            "worker": f"{key.name}-worker-1",
        }
        await self.redis.hset(keys.dead_letter(queue, job_id), mapping={**letter, **fields})  # type: ignore[misc]
        await self.redis.zadd(keys.dead_letters(queue), {job_id: died_ms})

    async def end(self, job_id: str, key: Key = SHOP, *, outcome: str = "succeeded", age_s: float = 5) -> None:
        """Write the record of a job that has ended, as a worker does."""
        queue, ended_ms = f"arq:{key.name}", int((time.time() - age_s) * 1000)
        worker = job_tries.quoted(f"{key.name}-worker-1")
        lines = [
            job_tries.ending(job_tries.quoted("send_email"), ended_ms - 3000, outcome),
            job_tries.ended_try(1, worker, ended_ms - 900, ended_ms - 700, "retried", "TimeoutError: mail server"),
            job_tries.ended_try(2, worker, ended_ms - 420, ended_ms, outcome),
        ]
        await self.redis.hset(keys.job_records(queue), job_id, "\n".join(lines))  # type: ignore[misc]
        await self.redis.zadd(keys.job_ends(queue), {job_id: ended_ms})

    async def beat(self, worker: str, busy: int, key: Key = SHOP, **said: Any) -> None:
        told = Heartbeat(worker=worker, at_ms=0, busy=busy, slots=10, **said)
        await heartbeat.write(self.redis, f"arq:{key.name}", told)


@pytest_asyncio.fixture
async def scene(redis: Redis, redis_server: RedisServer, eventually: Eventually) -> AsyncIterator[Scene]:
    observer = QueueObserver(lambda _key, _reading: None, Metrics(CollectorRegistry()), tick_s=0.05)
    yield Scene(redis, redis_server.address, ClusterCache(lambda _key, **_: None), observer, eventually)
    await observer.close()


class Visit:
    """A browser without a window: cookies are kept, redirections are not followed."""

    token = TOKEN

    def __init__(self, session: aiohttp.ClientSession, url: str, console: Console) -> None:
        self.session, self.url, self.console = session, url, console

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(f"{self.url}{path}", headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, form: Any, **headers: str) -> tuple[int, str, str]:
        """Status, text and where to go next."""
        sent = {"Origin": self.url, **headers}
        async with self.session.post(f"{self.url}{path}", data=form, headers=sent, allow_redirects=False) as answer:
            return answer.status, await answer.text(), answer.headers.get("Location", "")

    async def form_key(self, path: str) -> str:
        _, text = await self.get(path)
        return text.partition('name="form_key" value="')[2].partition('"')[0]

    async def sign_in(self, token: str = TOKEN) -> int:
        status, _, _ = await self.post("/login", {"form_key": await self.form_key("/login"), "token": token})
        return status


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest_asyncio.fixture
async def serve(scene: Scene) -> AsyncIterator[Callable[..., Awaitable[Visit]]]:
    """Serve the console over the scene, with a token or without."""
    async with AsyncExitStack() as stack:

        async def start(token_file: Path | None = None, *, show_arguments: bool = False) -> Visit:
            port = free_port()
            console = Console(ConsoleSettings(port, token_file, show_arguments), lambda: "operator-2 leads")
            console.view = View(scene.cache, scene.observer)
            runner = web.AppRunner(console.application(), access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, host="127.0.0.1", port=port).start()
            jar = aiohttp.CookieJar(unsafe=True)  # of a host without a name
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            return Visit(session, f"http://127.0.0.1:{port}", console)

        yield start


@pytest_asyncio.fixture
async def busy_shop(scene: Scene) -> Scene:
    """A queue with all there can be to see: waiting jobs, workers, ended jobs, dead letters, and a limit that binds."""
    scene.task_queue(
        status={
            "desiredReplicas": 3,
            "scaling": {
                "reason": "AtMaxReplicas",
                "message": "203 waiting, 14 running, 0 due soon; more would help, 3 is the maximum",
                "limit": "MaxReplicas",
                "terms": [
                    {"name": "Arrivals", "replicas": 2.63, "message": "13.8 jobs/s x 0.963 s = 13.3 busy slots"},
                    {
                        "name": "Backlog",
                        "replicas": 7.91,
                        "message": "203 waiting of 0.963 s each, the oldest for 9 s",
                    },
                ],
                "lastChange": {
                    "time": stamp(time.time() - 75),
                    "from": 1,
                    "to": 3,
                    "reason": "ScalingUp",
                    "message": "203 waiting",
                },
            },
            "conditions": [condition("Ready", "True", "Ready", "the queue is read and its workers take jobs")],
        },
        scaling={"minReplicas": 0, "maxReplicas": 3},
    )
    ready = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(time.time() - 500)}]}
    pulling = {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]}
    scene.workers(
        SHOP,
        2,
        3,
        {"name": "emails-worker-1", "status": ready},
        {"name": "emails-worker-2", "status": ready},
        {"name": "emails-worker-3", "status": pulling},
    )
    await scene.wait(217)
    await scene.run(14)
    await scene.beat("emails-worker-1", 10, finished={"succeeded": 1840, "failed": 3}, run_seconds=1775.0)
    await scene.beat("emails-worker-2", 4, finished={"succeeded": 912}, run_seconds=878.0)
    for number in range(3):
        await scene.end(f"done-{number}", age_s=2 + number)
    await scene.bury("lost-1")
    await scene.bury("lost-2", age_s=7200, reason="timeout", error="TimeoutError", function="build_report")
    await scene.read()
    return scene


@pytest.fixture
def stamped() -> Callable[..., dict[str, Any]]:
    """Makes conditions of a TaskQueue."""
    return condition


def pytest_terminal_summary(terminalreporter: Any) -> None:
    binary = find_chromium()
    if binary is None:
        told = f"no browser: none of {', '.join(NAMES)} is on PATH"
    else:
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60, check=False)
        told = version.stdout.strip() or binary
    terminalreporter.write_line(f"console: {told}")
