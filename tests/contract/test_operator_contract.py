"""The operator as a process, on the fake and on a real API server: what it makes, scales, tells and leaves alone."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, SECRETS, TASK_QUEUES, KubeClient

Eventually = Callable[..., Awaitable[Any]]
NAMESPACE = "default"
MANAGER = "test"
SECRET_TEXT = "n0t-to-be-seen"  # noqa: S105 - looked for where it must not be

_numbers = count(1)


@pytest.fixture(scope="module")
def operator(server: Any, operator_process: Any) -> Iterator[Any]:
    process = operator_process(server.kubeconfig, "arqube-operator").start()
    yield process
    process.stop()


class Queue:
    """One TaskQueue and the queue in Redis behind it."""

    def __init__(self, client: KubeClient, redis: Redis, server: RedisServer) -> None:
        self.name = f"queue-{next(_numbers)}-{os.getpid()}"
        self.redis_spec: dict[str, Any] = {"host": "127.0.0.1", "port": server.address.port}
        self.scaling: dict[str, Any] = {
            "cooldown": "0s",
            "maxReplicas": 4,
            "jobsPerReplica": 10,
            "scaleDown": {"stabilization": "0s"},
        }
        self.worker: dict[str, Any] = {"image": "app:1", "settings": "app.WorkerSettings"}
        self._client = client
        self._redis = redis

    async def apply(self) -> None:
        spec = {"redis": self.redis_spec, "queueName": self.name, "worker": self.worker, "scaling": self.scaling}
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": self.name}, "spec": spec}
        await self._client.apply(TASK_QUEUES, NAMESPACE, self.name, body, field_manager=MANAGER)

    async def delete(self) -> None:
        await self._client.delete(TASK_QUEUES, NAMESPACE, self.name)

    async def enqueue(self, jobs: int) -> None:
        await self._redis.zadd(self.name, {f"{self.name}:{number}": 1000 for number in range(jobs)})

    async def drain(self) -> None:
        await self._redis.delete(self.name)

    async def deployment(self) -> dict[str, Any] | None:
        return await self._client.get(DEPLOYMENTS, NAMESPACE, f"{self.name}-worker")

    async def replicas(self) -> int | None:
        live = await self.deployment()
        return None if live is None else live["spec"]["replicas"]

    async def image(self) -> str | None:
        live = await self.deployment()
        return None if live is None else live["spec"]["template"]["spec"]["containers"][0]["image"]

    async def status(self) -> dict[str, Any]:
        body = await self._client.get(TASK_QUEUES, NAMESPACE, self.name)
        return (body or {}).get("status", {})

    async def condition(self, kind: str) -> tuple[str, str]:
        found = {each["type"]: each for each in (await self.status()).get("conditions", ())}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else ("", "")

    async def events(self) -> list[dict[str, Any]]:
        events, _ = await self._client.list(EVENTS, NAMESPACE)
        return [each for each in events if each["involvedObject"].get("name") == self.name]

    async def reasons(self) -> set[str]:
        return {each["reason"] for each in await self.events()}


@pytest_asyncio.fixture
async def queue(
    api: Any, operator: Any, redis_server: RedisServer, stand_in: Any, eventually: Eventually
) -> AsyncIterator[Queue]:
    """A TaskQueue yet to be applied; the operator leads, and the workers are stood in for."""
    await eventually(operator.leads, within_s=60)
    redis = redis_server.address.connect()
    queue = Queue(api.client, redis, redis_server)
    stand_in(queue.name)
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


async def test_a_new_queue_gets_a_deployment_of_its_own_that_comes_to_zero(
    queue: Queue, eventually: Eventually
) -> None:
    """One worker is started, to learn of its cron jobs."""
    await queue.apply()
    live = await eventually(queue.deployment)

    assert live["metadata"]["ownerReferences"][0]["kind"] == "TaskQueue"
    assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ["app.WorkerSettings"]
    await eventually(holds(lambda: queue.condition("Ready"), ("True", "Ready")))
    await eventually(holds(queue.replicas, 0))


async def test_it_scales_with_the_queue_from_zero_and_back_and_says_why(queue: Queue, eventually: Eventually) -> None:
    await queue.apply()
    await eventually(holds(queue.replicas, 0))

    await queue.enqueue(25)
    await eventually(holds(queue.replicas, 3))
    await eventually(lambda: _shows(queue, waiting=25, desired=3))
    await queue.drain()
    await eventually(holds(queue.replicas, 0))

    async def told() -> bool:
        return {"WorkersCreated", "ScaledUp", "ScaledDown"} <= await queue.reasons()

    await eventually(told)


async def _shows(queue: Queue, *, waiting: int, desired: int) -> bool:
    status = await queue.status()
    return status.get("queue", {}).get("waiting") == waiting and status.get("desiredReplicas") == desired


async def test_a_new_image_is_rolled_out_and_leaves_the_number_of_workers(queue: Queue, eventually: Eventually) -> None:
    await queue.apply()
    await queue.enqueue(25)
    await eventually(holds(queue.replicas, 3))

    queue.worker["image"] = "app:2"
    await queue.apply()

    await eventually(holds(queue.image, "app:2"))
    assert await queue.replicas() == 3
    await eventually(lambda: _told(queue, "WorkersUpdated"))


async def _told(queue: Queue, reason: str) -> bool:
    return reason in await queue.reasons()


async def test_a_field_taken_out_of_the_pod_template_goes(queue: Queue, eventually: Eventually) -> None:
    queue.worker["podTemplate"] = {"spec": {"nodeSelector": {"disk": "ssd"}}}
    await queue.apply()

    async def selector() -> Any:
        live = await queue.deployment()
        return live and live["spec"]["template"]["spec"].get("nodeSelector")

    await eventually(holds(selector, {"disk": "ssd"}))
    queue.worker["podTemplate"] = {}
    await queue.apply()
    await eventually(holds(selector, None))


async def test_changes_by_others_are_undone(queue: Queue, api: Any, eventually: Eventually) -> None:
    await queue.apply()
    await eventually(holds(queue.replicas, 0))
    name = f"{queue.name}-worker"
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "foreign:1"}]}}},
    }

    await api.client.scale(DEPLOYMENTS, NAMESPACE, name, 2, field_manager=MANAGER)
    await eventually(holds(queue.replicas, 0))
    await api.client.apply(DEPLOYMENTS, NAMESPACE, name, foreign, field_manager=MANAGER)
    await eventually(holds(queue.image, "app:1"))
    await api.client.delete(DEPLOYMENTS, NAMESPACE, name)
    await eventually(holds(queue.replicas, 0), within_s=20)


async def test_a_fixed_number_overrules_the_queue(queue: Queue, api: Any, eventually: Eventually) -> None:
    await queue.apply()
    await eventually(holds(queue.replicas, 0))

    await api.client.scale(TASK_QUEUES, NAMESPACE, queue.name, 2, field_manager=MANAGER)

    await eventually(holds(queue.replicas, 2))
    await eventually(holds(lambda: queue.condition("ScalingActive"), ("False", "ManualReplicas")))


async def test_a_missing_secret_is_a_condition_and_its_arrival_is_noticed(
    queue: Queue, api: Any, operator: Any, eventually: Eventually
) -> None:
    with RedisServer(options=("--requirepass", SECRET_TEXT)) as server:
        secret = f"{queue.name}-redis"
        queue.redis_spec = {
            "host": "127.0.0.1",
            "port": server.address.port,
            "passwordFrom": {"name": secret, "key": "password"},
        }
        await queue.apply()
        await eventually(holds(lambda: queue.condition("RedisReachable"), ("False", "SecretNotFound")))

        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret},
            "data": {"password": base64.b64encode(SECRET_TEXT.encode()).decode()},
        }
        await api.client.create(SECRETS, NAMESPACE, body, field_manager=MANAGER)
        await eventually(holds(lambda: queue.condition("RedisReachable"), ("True", "Connected")), within_s=40)

    await eventually(holds(lambda: queue.condition("RedisReachable"), ("False", "RedisUnreachable")), within_s=20)
    shown = [str(await queue.status()), str(await queue.events()), operator.log.read_text(), await operator.metrics()]
    assert not any(SECRET_TEXT in text for text in shown)
    await api.client.delete(SECRETS, NAMESPACE, secret)


async def test_a_redis_that_is_away_holds_its_workers_and_no_other_queue(
    queue: Queue, api: Any, redis_server: RedisServer, stand_in: Any, eventually: Eventually
) -> None:
    client = redis_server.address.connect()
    other = Queue(api.client, client, redis_server)
    stand_in(other.name)
    try:
        with RedisServer() as server:
            own = server.address.connect()
            queue.redis_spec = {"host": "127.0.0.1", "port": server.address.port}
            await queue.apply()
            await own.zadd(queue.name, {"job": 1000})
            await own.aclose()
            await eventually(holds(queue.replicas, 1))
        await eventually(holds(lambda: queue.condition("RedisReachable"), ("False", "RedisUnreachable")), within_s=20)

        await other.apply()
        await other.enqueue(15)
        await eventually(holds(other.replicas, 2))
        await other.drain()
        await eventually(holds(other.replicas, 0))

        assert await queue.replicas() == 1
    finally:
        await other.delete()
        await client.aclose()


async def test_a_deployment_that_kubernetes_refuses_is_a_condition(
    queue: Queue, server: Any, eventually: Eventually
) -> None:
    queue.worker["podTemplate"] = {"spec": {"containers": [{"name": "Not A Name", "image": "x"}]}}
    if server.faults is not None:  # The fake does not know what a pod may hold.
        server.faults.fail_next("PATCH", f"/deployments/{queue.name}-worker", status=422, times=3)
    await queue.apply()
    await eventually(holds(lambda: queue.condition("Ready"), ("False", "ApiRefused")))

    queue.worker["podTemplate"] = {}
    await queue.apply()
    await eventually(holds(lambda: queue.condition("Ready"), ("True", "Ready")))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(409, "ApiRefused", id="a conflict"),
        pytest.param(429, "ApiFailed", id="too many requests"),
        pytest.param(500, "ApiFailed", id="an error of the server's"),
        pytest.param(503, "ApiFailed", id="a server that is not available"),
    ],
)
async def test_an_api_server_in_trouble_is_tried_again_and_said_to_be(
    queue: Queue, server: Any, eventually: Eventually, status: int, reason: str
) -> None:
    if server.faults is None:
        pytest.skip("a real API server fails only when it must")
    server.faults.fail_next("PATCH", f"/deployments/{queue.name}-worker/scale", status=status, times=2)
    await queue.apply()
    await eventually(queue.deployment)
    await queue.enqueue(25)  # More than the one worker that a new queue may get anyhow, for its cron jobs.

    await eventually(holds(queue.replicas, 3), within_s=15)
    await eventually(lambda: _told(queue, reason))
    await eventually(holds(lambda: queue.condition("ScalingActive"), ("True", "Steady")))
    assert await queue.condition("WorkersAvailable") != ("False", reason)


async def test_a_deleted_queue_leaves_nothing(queue: Queue, api: Any, operator: Any, eventually: Eventually) -> None:
    await queue.apply()
    await eventually(holds(queue.replicas, 0))

    async def has_series() -> bool:
        return f'taskqueue="{queue.name}"' in await operator.metrics()

    await eventually(has_series)
    await queue.delete()

    await eventually(holds(has_series, False))
    await eventually(holds(queue.deployment, None), within_s=30)


async def test_a_stopped_leader_is_replaced_within_two_seconds_and_a_killed_one_within_fifteen(
    api: Any, operator_process: Any, eventually: Eventually
) -> None:
    lease = f"hand-over-{next(_numbers)}-{os.getpid()}"
    first, second, third = (operator_process(api.kubeconfig, lease) for _ in range(3))
    try:
        first.start()
        await eventually(first.leads, within_s=20)
        second.start()
        await eventually(second.metrics, within_s=20)
        assert not await second.leads()

        stopped = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(first.stop))
        await eventually(second.leads)
        assert time.monotonic() - stopped < 2
        assert await stopping == 0

        third.start()
        await eventually(third.metrics, within_s=20)
        assert not await third.leads()
        killed = time.monotonic()
        await asyncio.to_thread(second.stop, signal.SIGKILL)
        await eventually(third.leads, within_s=20)
        assert time.monotonic() - killed < 15
    finally:
        for each in (first, second, third):
            each.stop(signal.SIGKILL)
