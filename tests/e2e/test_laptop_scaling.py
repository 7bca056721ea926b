"""Real workers on the laptop cluster: a scale-down never cuts a job, and what is due at zero meets a worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from arqube_local.cluster import LaptopCluster
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES

Eventually = Callable[..., Awaitable[Any]]

NAMESPACE = "default"
SLOW_S = 60.0
"""Deadline of what takes a few seconds on an idle machine."""

APP = """
import asyncio
import os
import time

from arq import cron

async def hold(ctx, key):
    await ctx["redis"].hset("held", key, os.environ["ARQUBE_WORKER_NAME"])
    while not await ctx["redis"].exists(key):
        await asyncio.sleep(0.05)
    await ctx["redis"].hset("tries", key, ctx["job_try"])

async def report(ctx):
    await ctx["redis"].rpush("reports", time.time())

class WorkerSettings:
    functions = [hold]

class WithCron:
    cron_jobs = [cron(report, second=int(os.environ.get("REPORT_SECOND", "0")))]
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    async with LaptopCluster(state_dir=tmp_path / "state", app_dir=tmp_path / "app") as started:
        yield started


@pytest_asyncio.fixture
async def client(cluster: LaptopCluster) -> AsyncIterator[ArqRedis]:
    pool = await create_pool(RedisSettings(port=cluster.redis.address.port))
    yield pool
    await pool.aclose(close_connection_pool=True)


async def apply(cluster: LaptopCluster, settings: str, env: dict[str, str] | None = None) -> None:
    """A TaskQueue with a pod a job, little patience, and hardly any grace for a job that a stop would meet."""
    container = {"name": "worker", "env": [{"name": name, "value": value} for name, value in (env or {}).items()]}
    spec = {
        "redis": {"host": "127.0.0.1", "port": cluster.redis.address.port},
        "worker": {
            "image": "emails:1",
            "settings": f"app.{settings}",
            "concurrency": 1,
            "podTemplate": {"spec": {"containers": [container]}},
        },
        "scaling": {
            "maxReplicas": 4,
            "jobsPerReplica": 1,
            "cooldown": "0s",
            "scaleDown": {"stabilization": "3s"},
        },
        "shutdown": {"timeout": "1s"},
    }
    body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "emails"}, "spec": spec}
    await cluster.client.apply(TASK_QUEUES, NAMESPACE, "emails", body, field_manager="test")


async def replicas(cluster: LaptopCluster) -> int | None:
    found = await cluster.client.get(DEPLOYMENTS, NAMESPACE, "emails-worker")
    return None if found is None else found["spec"]["replicas"]


async def pods(cluster: LaptopCluster) -> list[str]:
    return [pod["metadata"]["name"] for pod in (await cluster.client.list(PODS, NAMESPACE))[0]]


async def test_a_scale_down_takes_the_idle_pods_and_never_the_busy_one(
    cluster: LaptopCluster, client: ArqRedis, eventually: Eventually
) -> None:
    for key in ("short-1", "short-2", "short-3", "long"):
        await client.enqueue_job("hold", key)
    await apply(cluster, "WorkerSettings")

    async def held() -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await client.hgetall("held")  # type: ignore[misc]
        return found if len(found) == 4 else {}

    by_job = await eventually(held, within_s=SLOW_S)
    assert len(set(by_job.values())) == 4
    await client.mset({"short-1": 1, "short-2": 1, "short-3": 1})

    async def one_is_left() -> bool:
        return await replicas(cluster) == 1 and len(await pods(cluster)) == 1

    await eventually(one_is_left, within_s=SLOW_S)
    assert await pods(cluster) == [by_job[b"long"].decode()]
    await client.set("long", 1)

    async def none_is_left() -> bool:
        return await replicas(cluster) == 0 and not await pods(cluster)

    await eventually(none_is_left, within_s=SLOW_S)
    assert await client.hgetall("tries") == dict.fromkeys(by_job, b"1")  # type: ignore[misc]


async def test_a_cron_run_at_zero_is_not_missed(
    cluster: LaptopCluster, client: ArqRedis, eventually: Eventually
) -> None:
    due_s = int(time.time()) + 40
    await apply(cluster, "WithCron", {"REPORT_SECOND": str(due_s % 60)})

    async def came_and_went() -> bool:
        found = await cluster.client.get(TASK_QUEUES, NAMESPACE, "emails") or {}
        told = found.get("status", {}).get("scaling", {}).get("crons", {})
        return "next" in told and await replicas(cluster) == 0 and not await pods(cluster)

    await eventually(came_and_went, within_s=30)
    assert not await client.exists("reports")

    reports = await eventually(lambda: client.lrange("reports", 0, -1), within_s=SLOW_S)

    assert abs(float(reports[0]) - due_s) < 3
