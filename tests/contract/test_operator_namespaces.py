"""An operator that watches some namespaces leaves the others alone."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import DEPLOYMENTS, TASK_QUEUES

Eventually = Callable[..., Awaitable[Any]]
MANAGER = "test"


async def test_only_the_watched_namespaces_are_seen_to(
    api: Any, namespace: str, redis_server: RedisServer, operator_process: Any, eventually: Eventually
) -> None:
    name = f"queue-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name},
        "spec": {
            "redis": {"host": "127.0.0.1", "port": redis_server.address.port},
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
        },
    }
    # The one that is left alone is there first: the operator would have made its Deployment before the other's.
    for space in ("default", namespace):
        await api.client.apply(TASK_QUEUES, space, name, body, field_manager=MANAGER)
    operator = operator_process(api.kubeconfig, f"lease-{name}", namespace).start()
    try:
        await eventually(lambda: api.client.get(DEPLOYMENTS, namespace, f"{name}-worker"), within_s=20)

        body["spec"]["worker"]["image"] = "app:2"
        await api.client.apply(TASK_QUEUES, namespace, name, body, field_manager=MANAGER)

        async def rolled_out() -> bool:
            live = await api.client.get(DEPLOYMENTS, namespace, f"{name}-worker")
            return bool(live["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2")

        await eventually(rolled_out)
        assert await api.client.get(DEPLOYMENTS, "default", f"{name}-worker") is None
    finally:
        operator.stop()
        for space in ("default", namespace):
            await api.client.delete(TASK_QUEUES, space, name)
