"""Operators that share a cluster's TaskQueues by a label: each sees to its own, also when one is handed over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES

Eventually = Callable[..., Awaitable[Any]]
MANAGER = "test"
NAMESPACE = "default"
REPLICAS = 3


@pytest.fixture(scope="module")
def shards(server: Any, operator_process: Any) -> Iterator[dict[str, Any]]:
    """An operator for the label ``a`` and one for all others that have the label; nobody is there for the rest."""
    selectors = {"a": "shard=a", "b": "shard, shard notin (a, c)"}
    started = {
        shard: operator_process(
            server.kubeconfig, f"shard-{shard}", NAMESPACE, ARQUBE_WATCH_LABEL_SELECTOR=selector
        ).start()
        for shard, selector in selectors.items()
    }
    yield started
    for process in started.values():
        process.stop()


class Queue:
    """A TaskQueue of a shard with work for three workers, and what is seen of its workers."""

    def __init__(self, api: Any, port: int) -> None:
        self.name = f"sharded-{uuid.uuid4().hex[:8]}"
        self.seen: set[tuple[str, int]] = set()
        """The uids and numbers of workers that its Deployment had while it was watched."""
        self._client = api.client
        self._port = port

    async def apply(self, shard: str | None, image: str = "app:1") -> None:
        spec = {
            "redis": {"host": "127.0.0.1", "port": self._port},
            "queueName": self.name,
            "worker": {"image": image, "settings": "app.WorkerSettings"},
            "scaling": {"maxReplicas": 4, "jobsPerReplica": 10},
        }
        labels = {} if shard is None else {"shard": shard}
        metadata = {"name": self.name, "labels": labels}
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec}
        await self._client.apply(TASK_QUEUES, NAMESPACE, self.name, body, field_manager=MANAGER)

    async def deployment(self) -> Any:
        return await self._client.get(DEPLOYMENTS, NAMESPACE, f"{self.name}-worker")

    async def replicas(self) -> int | None:
        live = await self.deployment()
        return None if live is None else live["spec"]["replicas"]

    async def image(self) -> str:
        image: str = (await self.deployment())["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    async def pods(self) -> set[str]:
        pods, _ = await self._client.list(PODS, NAMESPACE, label_selector=f"arqube.dev/taskqueue={self.name}")
        return {pod["metadata"]["uid"] for pod in pods}

    async def served_by(self, shards: dict[str, Any]) -> set[str]:
        label = f'taskqueue="{self.name}"'
        return {shard for shard, process in shards.items() if label in await process.metrics()}

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Note what its Deployment is like, until the end of the block."""

        async def watch() -> None:
            while True:
                live = await self.deployment()
                self.seen.add((live["metadata"]["uid"], live["spec"]["replicas"]))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@pytest_asyncio.fixture
async def queue(api: Any, redis_server: RedisServer) -> AsyncIterator[Queue]:
    queue, redis = Queue(api, redis_server.address.port), redis_server.address.connect()
    await redis.zadd(queue.name, {f"{queue.name}:{number}": 1000 for number in range(10 * REPLICAS - 5)})
    yield queue
    await api.client.delete(TASK_QUEUES, NAMESPACE, queue.name)
    await redis.delete(queue.name)
    await redis.aclose()


async def test_a_task_queue_is_handed_from_one_shard_to_the_other(
    shards: dict[str, Any], queue: Queue, stand_in: Any, eventually: Eventually
) -> None:
    workers = stand_in(queue.name)
    await queue.apply("a")

    async def runs() -> bool:
        return await queue.replicas() == REPLICAS and len(workers.pods) == REPLICAS

    async def is_served_by_b_alone() -> bool:
        return await queue.served_by(shards) == {"b"}

    await eventually(runs)
    assert await queue.served_by(shards) == {"a"}
    deployment, pods = await queue.deployment(), await queue.pods()

    async with queue.watched():
        await queue.apply("b")
        await eventually(is_served_by_b_alone)
    assert queue.seen == {(deployment["metadata"]["uid"], REPLICAS)}
    assert await queue.pods() == pods
    assert (await queue.deployment())["metadata"]["generation"] == deployment["metadata"]["generation"]

    async with queue.watched():
        await queue.apply("b", image="app:2")

        async def is_rolled_out() -> bool:
            return await queue.image() == "app:2"

        await eventually(is_rolled_out)
    assert queue.seen == {(deployment["metadata"]["uid"], REPLICAS)}
    assert await queue.served_by(shards) == {"b"}


@pytest.mark.parametrize("shard", ["c", None], ids=["the label of no shard", "no label"])
async def test_workers_of_a_task_queue_that_leaves_all_shards_run_on(
    shards: dict[str, Any], queue: Queue, stand_in: Any, eventually: Eventually, shard: str | None
) -> None:
    workers = stand_in(queue.name)
    await queue.apply("a")

    async def runs() -> bool:
        return await queue.replicas() == REPLICAS and len(workers.pods) == REPLICAS

    async def is_served_by_nobody() -> bool:
        return await queue.served_by(shards) == set()

    await eventually(runs)
    pods = await queue.pods()
    async with queue.watched():
        await queue.apply(shard, image="app:2")
        await eventually(is_served_by_nobody)
    assert {replicas for _, replicas in queue.seen} == {REPLICAS}
    assert await queue.pods() == pods

    # It comes back as it was left, but for what was asked of it meanwhile.
    await queue.apply("b", image="app:2")

    async def is_rolled_out() -> bool:
        return await queue.image() == "app:2"

    await eventually(is_rolled_out)
    assert await queue.replicas() == REPLICAS
