"""``arqube explain`` on a cluster of this machine, with the real operator and workers under load."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from arqube_local.cluster import LaptopCluster
from arqube_operator.kube.client import TASK_QUEUES

Eventually = Callable[..., Awaitable[Any]]

ARQUBE = (sys.executable, "-c", "from arqube_local.cli import main; main()")
APP = """
import asyncio

async def work(ctx):
    await asyncio.sleep(1)

class WorkerSettings:
    functions = [work]
"""


def explain(kubeconfig: str, *arguments: str) -> str:
    command = [*ARQUBE, "explain", "emails", "--kubeconfig", kubeconfig, *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout


async def test_a_queue_at_its_maximum_is_explained(tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    async with LaptopCluster(state_dir=tmp_path / "state", app_dir=tmp_path / "app") as cluster:
        address = cluster.redis.address
        body = {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": "emails", "namespace": "default"},
            "spec": {
                "redis": {"host": address.host, "port": address.port},
                "worker": {"image": "emails:1", "settings": "app.WorkerSettings", "concurrency": 2},
                "scaling": {"maxReplicas": 1, "maxWait": "5s"},
            },
        }
        await cluster.client.create(TASK_QUEUES, "default", body, field_manager="test")
        pool = await create_pool(RedisSettings(host=address.host, port=address.port))
        for _ in range(300):
            await pool.enqueue_job("work")
        await pool.aclose(close_connection_pool=True)

        async def told() -> dict[str, Any] | None:
            found = json.loads(await asyncio.to_thread(explain, cluster.kubeconfig, "--json"))
            scaling = found["status"].get("scaling", {})
            known = scaling.get("limit") == "MaxReplicas" and scaling.get("inputs", {}).get("serviceSeconds")
            plotted = any(sample["waiting"] and sample["ready"] for sample in found["history"])
            return found if known and plotted else None

        found = await eventually(told, within_s=90, every_s=0.5)
        assert "spec.scaling.maxReplicas (1)" in found["remedy"]
        assert "ScaledUp" in [event["reason"] for event in found["events"]]

        text = await asyncio.to_thread(explain, cluster.kubeconfig)
        assert "Limit        MaxReplicas." in text
        assert max(map(len, text.splitlines())) <= 80
