"""The operator's scaling as a process, on the fake and on a real API server: who goes, what is held, what is known."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.decide.departure import GONE_COST
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, PODS, TASK_QUEUES, KubeClient
from arqube_queue import keys

Eventually = Callable[..., Awaitable[Any]]
NAMESPACE = "default"

_numbers = count(1)


@pytest.fixture(scope="module")
def operator(server: Any, operator_process: Any) -> Iterator[Any]:
    process = operator_process(server.kubeconfig, "scaling-contract").start()
    yield process
    process.stop()


class Queue:
    """One TaskQueue with a slot for each ten jobs and no patience, and the queue in Redis behind it."""

    def __init__(self, client: KubeClient, redis: Redis, port: int) -> None:
        self.name = f"scaling-{next(_numbers)}-{os.getpid()}"
        self.port = port
        self.redis = redis
        self.client = client
        self.scaling: dict[str, Any] = {
            "cooldown": "0s",
            "maxReplicas": 4,
            "jobsPerReplica": 10,
            "scaleDown": {"stabilization": "0s"},
        }

    async def apply(self, **scaling: Any) -> None:
        self.scaling |= scaling
        spec = {
            "redis": {"host": "127.0.0.1", "port": self.port},
            "queueName": self.name,
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
            "scaling": self.scaling,
        }
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": self.name}, "spec": spec}
        await self.client.apply(TASK_QUEUES, NAMESPACE, self.name, body, field_manager="test")

    async def delete(self) -> None:
        await self.client.delete(TASK_QUEUES, NAMESPACE, self.name)

    async def enqueue(self, jobs: int, *, due_s: float = 1.0, running: int = 0) -> None:
        ids = [f"{self.name}:{number}" for number in range(jobs)]
        await self.redis.zadd(self.name, dict.fromkeys(ids, due_s * 1000))
        for job in ids[:running]:
            await self.redis.set(keys.IN_PROGRESS_PREFIX + job, "1", ex=120)

    async def drain(self) -> None:
        await self.redis.delete(self.name)

    async def replicas(self) -> int | None:
        live = await self.client.get(DEPLOYMENTS, NAMESPACE, f"{self.name}-worker")
        return None if live is None else live["spec"]["replicas"]

    async def status(self) -> dict[str, Any]:
        body = await self.client.get(TASK_QUEUES, NAMESPACE, self.name)
        return (body or {}).get("status", {})

    async def scaling_status(self) -> dict[str, Any]:
        return (await self.status()).get("scaling", {})

    async def limit(self) -> str | None:
        return (await self.scaling_status()).get("limit")

    async def retiring(self) -> int | None:
        return (await self.scaling_status()).get("retiring")

    async def last_change(self) -> str | None:
        return (await self.scaling_status()).get("lastChange", {}).get("reason")

    async def condition(self, kind: str) -> tuple[str, str]:
        found = {each["type"]: each for each in (await self.status()).get("conditions", ())}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else ("", "")

    async def told(self, reason: str) -> int:
        events, _ = await self.client.list(EVENTS, NAMESPACE)
        of_queue = [each for each in events if each["involvedObject"].get("name") == self.name]
        return sum(each["reason"] == reason for each in of_queue)


@pytest_asyncio.fixture
async def queue(api: Any, operator: Any, redis_server: RedisServer, eventually: Eventually) -> AsyncIterator[Queue]:
    """A TaskQueue yet to be applied; the operator leads."""
    await eventually(operator.leads, within_s=20)
    redis = redis_server.address.connect()
    queue = Queue(api.client, redis, redis_server.address.port)
    yield queue
    with suppress(Exception):
        await queue.delete()
    await queue.drain()
    await redis.aclose()


def holds(check: Callable[[], Awaitable[Any]], wanted: Any) -> Callable[[], Awaitable[bool]]:
    """A condition to wait for: ``check`` gives ``wanted``."""

    async def condition() -> bool:
        return bool(await check() == wanted)

    return condition


async def test_a_scale_down_waits_for_a_pod_in_retirement_and_takes_that_one(
    queue: Queue, stand_in: Any, eventually: Eventually
) -> None:
    """However long the others' jobs are, and though the idle one is the older."""
    workers = stand_in(queue.name)
    workers.heeds = False
    await queue.enqueue(20, running=10)
    await queue.apply()
    await eventually(lambda: len(workers.pods) == 2)
    idle, busy = workers.pods
    workers.busy = {busy: 10}
    await queue.drain()
    await queue.enqueue(10, running=10)

    await eventually(holds(queue.limit, "BusyWorkers"))
    await eventually(holds(lambda: queue.redis.hkeys(keys.retiring(queue.name)), [idle.encode()]))
    await eventually(holds(queue.retiring, 1))
    assert await queue.replicas() == 2

    workers.heeds = True
    await eventually(lambda: workers.pods == [busy])
    assert workers.costs[idle] == str(GONE_COST)
    assert workers.costs[busy] == "0"
    await eventually(holds(queue.last_change, "ScalingDown"))

    workers.busy = {}
    await queue.drain()
    await eventually(holds(queue.replicas, 0))


async def test_load_that_comes_back_is_taken_by_those_that_were_to_go(
    queue: Queue, stand_in: Any, eventually: Eventually
) -> None:
    workers = stand_in(queue.name)
    workers.heeds = False
    await queue.enqueue(20)
    await queue.apply()
    await eventually(lambda: len(workers.pods) == 2)
    await queue.drain()
    await eventually(lambda: queue.redis.exists(keys.retiring(queue.name)))

    await queue.enqueue(20)

    async def is_free() -> bool:
        return not await queue.redis.exists(keys.retiring(queue.name))

    await eventually(is_free)
    assert await queue.replicas() == 2


async def test_a_dry_run_tells_what_it_would_do_and_leaves_the_number_to_others(
    queue: Queue, stand_in: Any, eventually: Eventually
) -> None:
    workers = stand_in(queue.name)
    await queue.enqueue(30)
    await queue.apply(dryRun=True, minReplicas=1)

    await eventually(holds(queue.limit, "DryRun"))
    told = await queue.scaling_status()
    assert "3 workers in place of 1" in told["message"]
    assert await queue.replicas() == 1
    name = f"{queue.name}-worker"
    await queue.client.scale(DEPLOYMENTS, NAMESPACE, name, 2, field_manager="test")
    await eventually(lambda: len(workers.pods) == 2)
    await queue.drain()

    async def is_told() -> bool:
        return "1 worker in place of 2" in (await queue.scaling_status())["message"]

    await eventually(is_told)
    assert await queue.replicas() == 2
    assert not await queue.redis.exists(keys.retiring(queue.name))
    await eventually(holds(lambda: queue.told("DryRun"), 1))
    assert (await queue.scaling_status())["lastChange"]["to"] == 1, "the floor that the Deployment was made with"


async def test_what_is_paused_stays(queue: Queue, stand_in: Any, eventually: Eventually) -> None:
    workers = stand_in(queue.name)
    await queue.enqueue(20)
    await queue.apply()
    await eventually(lambda: len(workers.pods) == 2)

    await queue.apply(paused="All")
    await queue.enqueue(40)
    await eventually(holds(lambda: queue.condition("ScalingLimited"), ("True", "Paused")))
    assert await queue.replicas() == 2
    await queue.apply(paused="Down")
    await eventually(holds(queue.replicas, 4))
    await queue.drain()
    await eventually(holds(lambda: queue.condition("ScalingLimited"), ("True", "Paused")))
    assert await queue.replicas() == 4

    queue.scaling.pop("paused")
    await queue.apply()
    await eventually(holds(queue.replicas, 0), within_s=20)


async def test_pods_that_no_node_takes_are_shown(queue: Queue, eventually: Eventually) -> None:
    await queue.enqueue(20)
    await queue.apply()
    await eventually(holds(queue.replicas, 2))
    live = await queue.client.get(DEPLOYMENTS, NAMESPACE, f"{queue.name}-worker")
    assert live is not None
    name = f"{queue.name}-worker-pending"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": live["spec"]["template"]["metadata"]["labels"]},
        "spec": {"containers": [{"name": "worker", "image": "app:1"}]},
    }
    await queue.client.create(PODS, NAMESPACE, pod, field_manager="test")
    words = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    await queue.client.patch_status(PODS, NAMESPACE, name, {"conditions": [condition]}, field_manager="test")

    await eventually(holds(lambda: queue.condition("ScalingLimited"), ("True", "Unschedulable")))
    assert await queue.condition("Ready") == ("False", "Unschedulable")
    told = next(each for each in (await queue.status())["conditions"] if each["type"] == "ScalingLimited")
    assert words in told["message"]
    await queue.client.delete(PODS, NAMESPACE, name)


async def test_while_redis_is_away_the_fallback_runs_from_zero_too(queue: Queue, eventually: Eventually) -> None:
    queue.port = free_port()
    await queue.apply(fallback={"replicas": 3, "after": "1s"})

    await eventually(holds(queue.replicas, 3), within_s=20)
    # The status is written after the number.
    await eventually(holds(queue.limit, "Fallback"), within_s=20)
    await eventually(holds(lambda: queue.condition("ScalingLimited"), ("True", "Fallback")), within_s=20)


async def test_a_cron_run_at_zero_meets_a_worker(queue: Queue, stand_in: Any, eventually: Eventually) -> None:
    """What workers tell of their cron jobs is remembered while there are none."""
    workers = stand_in(queue.name)
    due_s = time.time() + 25
    workers.cron_runs = {"cron:report": int(due_s * 1000)}
    await queue.apply()
    await eventually(holds(queue.replicas, 1))
    await eventually(holds(queue.replicas, 0))

    async def next_run_is_told() -> bool:
        return "next" in (await queue.scaling_status()).get("crons", {})

    await eventually(next_run_is_told)

    await eventually(holds(queue.replicas, 1), within_s=25)

    assert time.time() < due_s - 1


async def test_a_deferred_job_at_zero_meets_a_worker(queue: Queue, stand_in: Any, eventually: Eventually) -> None:
    stand_in(queue.name)
    await queue.apply()
    await eventually(holds(queue.replicas, 1))
    await eventually(holds(queue.replicas, 0))
    due_s = time.time() + 18
    await queue.enqueue(1, due_s=due_s)
    assert await queue.replicas() == 0

    await eventually(holds(queue.replicas, 1), within_s=20)

    assert time.time() < due_s - 1
