"""Where it happens: the laptop cluster with two operators, TaskQueues, Redis, and handles to all that can be struck."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from arqube_local.cluster import LaptopCluster
from arqube_local.processes.guard import ProcessGuard
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES, KubeClient
from benchmarks.chaos.faults import Setup
from benchmarks.chaos.operators import Operator
from benchmarks.chaos.queues import MANAGER, NAMESPACE, QUEUES, Queue, manifest
from benchmarks.chaos.redis_setups import RedisUnderTest, set_up

ROOT: Final = Path(__file__).parents[2]
APP: Final = Path(__file__).parent / "app"
OPERATORS: Final = 2
READY_S: Final = 60.0
LOOK_S: Final = 0.2
PROCESS: Final = "process://"


class Worker(NamedTuple):
    """A worker's process.

    Attributes:
        pod: Name of its pod.
        pid: Its process id, as in the ledger.
        queue: Name of its TaskQueue.
        ready: Its pod is ready.
    """

    pod: str
    pid: int
    queue: str
    ready: bool


class Stage:
    """A whole run's surroundings.

    Attributes:
        cluster: The API server (``cluster.api``, with ``faults``), the controllers and the kubelet.
        kube: A client of the API server.
        operators: Both replicas.
        redis: The Redis of the TaskQueues.
        queues: The TaskQueues.
        guard: Starts processes that end with this one.
        ledger: The folder of the books.
        folder: For logs and whatever else a run keeps.
    """

    def __init__(
        self,
        cluster: LaptopCluster,
        redis: RedisUnderTest,
        guard: ProcessGuard,
        queues: tuple[Queue, ...],
        folder: Path,
    ) -> None:
        self.cluster = cluster
        self.kube: KubeClient = cluster.client
        self.operators: list[Operator] = []
        self.redis = redis
        self.queues = queues
        self.guard = guard
        self.folder = folder
        self.ledger = folder / "ledger"

    @property
    def setup(self) -> Setup:
        """How Redis is set up."""
        return self.redis.setup

    async def workers(self) -> list[Worker]:
        """The workers that run, and are not asked to stop, by the names of their pods."""
        pods, _ = await self.kube.list(PODS, NAMESPACE)
        return sorted(
            Worker(
                pod["metadata"]["name"],
                int(container["containerID"].removeprefix(PROCESS)),
                pod["metadata"]["labels"]["app.kubernetes.io/instance"],
                bool(container.get("ready")),
            )
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            for container in pod.get("status", {}).get("containerStatuses", ())
            if "running" in container.get("state", {})
        )

    def manifest(self, queue: Queue, **options: Any) -> dict[str, Any]:
        """The TaskQueue of ``queue`` on this stage."""
        return manifest(queue, self.redis.spec, self.ledger, **options)

    async def apply(self, queue: Queue, **options: Any) -> None:
        """Write it to the API server."""
        body = self.manifest(queue, **options)
        await self.kube.apply(TASK_QUEUES, NAMESPACE, queue.name, body, field_manager=MANAGER)

    async def until_ready(self) -> None:
        """Wait until there is a Deployment for each TaskQueue, and the workers that are always there are ready.

        Raises:
            TimeoutError: It does not come to that in time.
        """
        deadline = time.monotonic() + READY_S
        while not await self._is_ready():
            if time.monotonic() > deadline:
                task_queues, _ = await self.kube.list(TASK_QUEUES, NAMESPACE)
                told = [each.get("status", {}).get("conditions") for each in task_queues]
                raise TimeoutError(f"the TaskQueues were not ready within {READY_S:g} s: {told}")
            await asyncio.sleep(LOOK_S)

    async def _is_ready(self) -> bool:
        deployments, _ = await self.kube.list(DEPLOYMENTS, NAMESPACE)
        ready = [worker.queue for worker in await self.workers() if worker.ready]
        return len(deployments) == len(self.queues) and all(
            ready.count(queue.name) >= queue.least for queue in self.queues
        )


@asynccontextmanager
async def staged(setup: Setup, folder: Path, queues: tuple[Queue, ...] = QUEUES) -> AsyncIterator[Stage]:
    """Start all of it in ``folder``, and stop it again.

    Raises:
        TimeoutError: Something did not start in time.
    """
    # Pods of the laptop cluster see it, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    (folder / "ledger").mkdir(parents=True)
    async with AsyncExitStack() as stack:
        guard = stack.enter_context(ProcessGuard())
        redis = await stack.enter_async_context(set_up(setup, folder))
        for server in redis.servers:
            if server.pid is not None:
                guard.watch(server.pid)
        cluster = await stack.enter_async_context(
            LaptopCluster(state_dir=folder / "cluster", app_dir=APP, operator=False)
        )
        stage = Stage(cluster, redis, guard, queues, folder)
        for number in range(OPERATORS):
            operator = Operator(guard, f"operator-{number}", cluster.kubeconfig, folder)
            started = asyncio.Event()
            stack.push_async_callback(_cancel, asyncio.create_task(operator.run(started)))
            await started.wait()
            stage.operators.append(operator)
        for operator in stage.operators:
            await operator.until_ready()
        for queue in queues:
            await stage.apply(queue)
        await stage.until_ready()
        yield stage


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
