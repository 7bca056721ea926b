"""Many TaskQueues and a leader that dies: the next one finds all as it should be, and leaves it so."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from arqube_local.redis_server import RedisServer
from arqube_operator.decide.scaling.crons import template_hash
from arqube_operator.kube.client import DEPLOYMENTS, TASK_QUEUES, KubeClient

Eventually = Callable[..., Awaitable[Any]]

QUEUES = 200
IMAGE, SETTINGS = "app:1", "app.WorkerSettings"
WITHIN_S = 110


async def make(client: KubeClient, namespace: str, number: int, port: int) -> None:
    """An idle TaskQueue; every other one keeps two workers."""
    name = f"queue-{number}"
    spec = {
        "redis": {"host": "127.0.0.1", "port": port},
        "queueName": name,
        "worker": {"image": IMAGE, "settings": SETTINGS},
        "scaling": {"minReplicas": 2 * (number % 2)},
    }
    body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec}
    await client.create(TASK_QUEUES, namespace, body, field_manager="test")
    # Else one worker is started to tell its cron jobs.
    status = {"scaling": {"reason": "Idle", "message": "", "crons": {"template": template_hash(IMAGE, SETTINGS)}}}
    await client.patch_status(TASK_QUEUES, namespace, name, status, field_manager="test")


@pytest.mark.timeout(300)
async def test_a_new_leader_scales_none_of_many_queues(
    api: Any, namespace: str, redis_server: RedisServer, operator_process: Any, eventually: Eventually
) -> None:
    for number in range(QUEUES):
        await make(api.client, namespace, number, redis_server.address.port)

    async def found() -> dict[str, tuple[int, int]]:
        deployments, _ = await api.client.list(DEPLOYMENTS, namespace)
        return {
            each["metadata"]["name"]: (each["spec"]["replicas"], each["metadata"]["generation"]) for each in deployments
        }

    async def read_by(process: Any) -> bool:
        return len(re.findall(r"^arqube_taskqueue_redis_up\{.*\} 1\.0$", await process.metrics(), re.M)) == QUEUES

    first = operator_process(api.kubeconfig, "leader-change", namespace).start()
    try:
        await eventually(lambda: read_by(first), within_s=WITHIN_S, every_s=1.0)
        before = await found()
    finally:
        first.stop(signal.SIGKILL)
    second = operator_process(api.kubeconfig, "leader-change", namespace).start()
    try:
        await eventually(lambda: read_by(second), within_s=WITHIN_S, every_s=1.0)
        assert await found() == before
    finally:
        second.stop()
    assert {replicas for replicas, _ in before.values()} == {0, 2}
    assert len(before) == QUEUES
