"""The cluster around the operator: TaskQueues, and what plays Deployment controller, kubelet and workers for them.

Pods are ready as soon as they are made. Workers beat each second, and their queues' work changes each second.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from redis.asyncio import Redis

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.manifest import (
    DELETION_COST_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    TASK_QUEUE_LABEL,
    deployment,
    deployment_name,
)
from arqube_operator.decide.scaling.crons import template_hash
from arqube_operator.decide.state import Identity
from arqube_operator.execute.executor import OPERATOR, SCALER
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES, ApiError, KubeClient
from arqube_operator.settings import DEFAULT_RUNTIME_IMAGE
from arqube_queue import heartbeat, keys
from arqube_queue.connection import RedisAddress
from arqube_queue.model import Heartbeat
from benchmarks.operator.processes import MANAGER

NAMESPACE: Final = "default"
SHARDS: Final = ("a", "b")
"""Values of the label ``shard``, which the TaskQueues have in turn."""
SLOTS: Final = 10
MOST_JOBS: Final = 25
"""Jobs in a busy queue: a number up to this each second, so that its workers' number changes too."""
BEAT_S: Final = 1.0
REQUESTS: Final = 8
"""To the API server at the same time."""


@dataclass(slots=True)
class Worker:
    """A pod that runs."""

    name: str
    busy: int = 0
    started: int = 0
    retiring: bool = False

    def beat(self) -> Heartbeat:
        """What it says of itself."""
        done = self.started - self.busy
        counts = {"succeeded": done} if done else {}
        return Heartbeat(
            self.name,
            0,
            self.busy,
            SLOTS,
            retiring=self.retiring,
            started=self.started,
            finished=counts,
            run_seconds=float(done),
            functions=("send_email", "resize_image", "sync_account"),
        )


class Fleet:
    """TaskQueues without work and ones whose work changes, spread over some Redis servers.

    Attributes:
        idle: Names of those without work.
        busy: Names of those whose work changes.
        scaled: The number of replicas that the API server has of each TaskQueue's Deployment, and since when by the
            monotonic clock.
    """

    def __init__(self, client: KubeClient, servers: Sequence[RedisAddress]) -> None:
        self.idle: list[str] = []
        self.busy: list[str] = []
        self.scaled: dict[str, tuple[int, float]] = {}
        self._client = client
        self._servers = servers
        self._connections: list[Redis] = [server.connect() for server in servers]
        self._places: dict[str, int] = {}
        self._shards: dict[str, str] = {}
        self._workers: dict[str, list[Worker]] = {}
        self._numbers: dict[str, int] = {}
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        self._version = ""

    @property
    def size(self) -> int:
        """TaskQueues in all."""
        return len(self.idle) + len(self.busy)

    def size_of(self, shard: str) -> int:
        """TaskQueues whose label ``shard`` has that value."""
        return list(self._shards.values()).count(shard)

    @property
    def pods(self) -> int:
        """Pods that run now."""
        return sum(map(len, self._workers.values()))

    async def grow(self, idle: int, busy: int) -> None:
        """Make more TaskQueues until there are so many, and their Deployments as a former operator has left them."""
        if not self._version:
            _, self._version = await self._client.list(DEPLOYMENTS, NAMESPACE)
        idles = [f"idle-{number}" for number in range(len(self.idle), idle)]
        busies = [f"busy-{number}" for number in range(len(self.busy), busy)]
        await _each(REQUESTS, (self._create(name) for name in (*idles, *busies)))
        self.idle += idles
        self.busy += busies

    async def close(self) -> None:
        """Close the connections to Redis."""
        for connection in self._connections:
            await connection.aclose()

    async def follow(self) -> None:
        """Note what is scaled, and make and delete pods after it, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._converge())

    async def work(self) -> None:
        """Change the work of the busy queues and have all workers beat, until cancelled."""
        due = time.monotonic()
        while True:
            await self._change_work()
            beats = [(name, worker) for name, workers in self._workers.items() for worker in workers]
            await _each(REQUESTS, (self._beat(name, worker) for name, worker in beats))
            due = max(due + BEAT_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def burst(self, name: str, jobs: int) -> None:
        """Put jobs into a queue, as plain arq's clients do but for their payloads, which nobody reads here."""
        now_ms = int(time.time() * 1000)
        await self._redis(name).zadd(name, {f"{name}:{number}": now_ms for number in range(jobs)})

    async def drain(self, name: str) -> None:
        """Take the jobs of a queue away, as workers would."""
        await self._redis(name).delete(name)

    def _redis(self, name: str) -> Redis:
        return self._connections[self._places[name]]

    async def _create(self, name: str) -> None:
        number = len(self._places)
        place = self._places[name] = number % len(self._servers)
        spec = {
            "redis": {"host": "127.0.0.1", "port": self._servers[place].port},
            "queueName": name,
            "worker": {
                "image": "registry.example/app:1.4.2",
                "settings": "app.worker.WorkerSettings",
                "concurrency": SLOTS,
                "podTemplate": {
                    "spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "250m"}}}]}
                },
            },
        }
        shard = self._shards[name] = SHARDS[number // len(self._servers) % len(SHARDS)]
        labels = {"team": "payments", "app.kubernetes.io/part-of": "shop", "shard": shard}
        metadata = {"name": name, "labels": labels}
        body = {"apiVersion": TASK_QUEUES.api_version, "kind": TASK_QUEUES.kind, "metadata": metadata, "spec": spec}
        made = TaskQueue.from_object(await self._client.create(TASK_QUEUES, NAMESPACE, body, field_manager=MANAGER))
        identity = Identity(name, NAMESPACE, made.metadata.uid, made.metadata.generation)
        manifest = deployment(identity, made.spec, DEFAULT_RUNTIME_IMAGE)
        workers = {**manifest, "spec": {**manifest["spec"], "replicas": 0}}
        await self._client.create(DEPLOYMENTS, NAMESPACE, workers, field_manager=SCALER)
        # Else each is started once to learn its cron jobs.
        crons = {"template": template_hash(made.spec.worker.image, made.spec.worker.settings)}
        status = {"scaling": {"reason": "Idle", "message": "no job waits", "startupSeconds": 1, "crons": crons}}
        await self._client.patch_status(TASK_QUEUES, NAMESPACE, name, status, field_manager=OPERATOR)

    async def _watch(self) -> None:
        while True:
            events = self._client.watch(DEPLOYMENTS, NAMESPACE, resource_version=self._version)
            async for _, body in events:
                self._version = body["metadata"]["resourceVersion"]
                name, replicas = body["metadata"]["labels"][TASK_QUEUE_LABEL], body["spec"]["replicas"]
                if self.scaled.get(name, (None,))[0] != replicas:
                    self.scaled[name] = replicas, time.monotonic()
                    self._changed.put_nowait(name)

    async def _converge(self) -> None:
        while True:
            name = await self._changed.get()
            workers, wanted = self._workers.setdefault(name, []), self.scaled[name][0]
            if len(workers) == wanted:
                continue
            while len(workers) < wanted:
                workers.append(await self._start(name))
            excess = len(workers) - wanted
            for worker in sorted(workers, key=lambda worker: (not worker.retiring, worker.busy))[:excess]:
                await self._stop(name, worker)
            counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), len(workers))
            await self._client.patch_status(
                DEPLOYMENTS, NAMESPACE, deployment_name(name), counts, field_manager=MANAGER
            )

    async def _start(self, name: str) -> Worker:
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        pod = f"{deployment_name(name)}-7d9f8c6b5-{number:05}"
        labels = {TASK_QUEUE_LABEL: name, MANAGED_BY_LABEL: MANAGED_BY, "pod-template-hash": "7d9f8c6b5"}
        metadata = {"name": pod, "labels": labels, "annotations": {DELETION_COST_ANNOTATION: "0"}}
        spec = {"containers": [{"name": "worker", "image": "registry.example/app:1.4.2"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self._client.create(PODS, NAMESPACE, body, field_manager=MANAGER)
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}
        await self._client.patch_status(PODS, NAMESPACE, pod, status, field_manager=MANAGER)
        return Worker(pod)

    async def _stop(self, name: str, worker: Worker) -> None:
        self._workers[name].remove(worker)
        try:
            await self._client.delete(PODS, NAMESPACE, worker.name)
        except ApiError as error:
            if error.status != 404:
                raise
        await heartbeat.remove(self._redis(name), name, worker.name)

    async def _change_work(self) -> None:
        now_ms = int(time.time() * 1000)
        pipelines = [connection.pipeline(transaction=False) for connection in self._connections]
        for name in self.busy:
            pipeline = pipelines[self._places[name]]
            jobs = random.randint(1, MOST_JOBS)  # noqa: S311
            pipeline.delete(name)
            pipeline.zadd(name, {f"{name}:{number}": now_ms for number in range(jobs)})
            left = jobs
            for worker in self._workers.get(name, ()):
                worker.busy = 0 if worker.retiring else min(left, SLOTS)
                worker.started += worker.busy
                left -= worker.busy
            for number in range(jobs - left):
                pipeline.set(f"{keys.IN_PROGRESS_PREFIX}{name}:{number}", "1", px=int(BEAT_S * 1500))
        await asyncio.gather(*(pipeline.execute() for pipeline in pipelines))

    async def _beat(self, name: str, worker: Worker) -> None:
        worker.retiring = await heartbeat.write(self._redis(name), name, worker.beat())


async def _each(at_once: int, tasks: Iterable[Awaitable[None]]) -> None:
    """Await ``tasks``, some at once."""
    waiting = iter(tasks)

    async def some() -> None:
        for task in waiting:
            await task

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())
