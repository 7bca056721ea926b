"""What the dashboards are tried on: a laptop cluster with two TaskQueues under load, scraped by a real Prometheus.

The scrape jobs give the labels that a ServiceMonitor of the operator and a PodMonitor of the workers would.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from arqube_local.cluster import NAMESPACE, LaptopCluster
from arqube_local.kubelet.pod import PORTS_ANNOTATION
from arqube_local.monitoring.prometheus import Prometheus
from arqube_operator.decide.manifest import TASK_QUEUE_LABEL
from arqube_operator.kube.client import PODS, TASK_QUEUES

SCRAPE_S: Final = 1.0
RATE_INTERVAL_S: Final = 5
OPERATOR_JOB: Final = "arqube-operator-metrics"
OPERATOR_NAMESPACE: Final = "arqube-system"
TASK_QUEUE: Final = "emails"
QUEUES: Final = {TASK_QUEUE: "arq:queue", "reports": "arq:reports"}
VARIABLES: Final = {
    "job": OPERATOR_JOB,
    "namespace": NAMESPACE,
    "function": ".+",
    "__rate_interval": f"{RATE_INTERVAL_S}s",
}
"""What is chosen on both dashboards; ``taskqueue`` is one on the one and several on the other."""
CHOSEN: Final = {"arqube-overview": "|".join(QUEUES), "arqube-taskqueue": TASK_QUEUE}
"""The value of ``taskqueue`` by the dashboard's uid."""
_OUTAGE_S: Final = 8.0
_TURN_S: Final = 0.25


class Stage:
    """A cluster and the Prometheus that scrapes it. Made by ``staged``."""

    def __init__(self, cluster: LaptopCluster, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.began = time.time()
        self._cluster = cluster
        # The same jobs each time: runs can be compared.
        self._random = random.Random(1)  # noqa: S311 - no secret

    async def play(self, seconds: float) -> None:
        """Put jobs of all kinds into both queues for ``seconds``, with Redis away for a while in the middle."""
        pool = await create_pool(RedisSettings(port=self._cluster.redis.address.port))
        began = time.monotonic()
        was_away = False
        try:
            while (passed := time.monotonic() - began) < seconds:
                await self._enqueue(pool, passed / seconds)
                if not was_away and passed > seconds / 2:
                    was_away = True
                    await self._take_redis_away()
                await asyncio.sleep(_TURN_S)
        finally:
            await pool.aclose(close_connection_pool=True)

    async def exported(self) -> dict[str, bytes]:
        """What the operator and a worker serve at /metrics now, by component; a worker only while there is one."""
        pods, _ = await self._cluster.client.list(PODS, NAMESPACE)
        workers = [f"http://{target['targets'][0]}/metrics" for pod in pods if (target := _target(pod)) is not None]
        found = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            for name, url in (
                ("operator", f"http://127.0.0.1:{self._cluster.operator_port}/metrics"),
                *(("worker", url) for url in workers[:1]),
            ):
                async with session.get(url) as response:
                    found[name] = await response.read()
        return found

    async def _enqueue(self, pool: ArqRedis, share: float) -> None:
        """A turn's jobs; ``share`` of the time has passed: they come in two waves."""
        wave = math.sin(2 * math.pi * share) ** 2
        emails, reports = QUEUES.values()
        for _ in range(1 + int(14 * wave)):
            await pool.enqueue_job("send", self._random.lognormvariate(-0.9, 0.6), _queue_name=emails)
        kinds: tuple[tuple[float, str, tuple[float, ...]], ...] = (
            (0.6, "fetch", (0.2,)),
            (0.25, "charge", ()),
            (0.1, "render", ()),
            (0.02, "no_such_function", ()),
        )
        for chance, function, arguments in kinds:
            if self._random.random() < chance:
                await pool.enqueue_job(function, *arguments, _queue_name=emails)
        if self._random.random() < 0.5:
            later = timedelta(seconds=self._random.uniform(3, 15))
            await pool.enqueue_job("send", 0.3, _queue_name=emails, _defer_by=later)
            await pool.enqueue_job("send", 1.5, _queue_name=reports)

    async def _take_redis_away(self) -> None:
        """Stop the server as a hanging host does; it goes on where it was, and no lease runs out so soon."""
        pid = self._cluster.redis.pid
        assert pid is not None  # noqa: S101
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_OUTAGE_S)
        finally:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def staged(binary: str, folder: Path) -> AsyncIterator[Stage]:
    """Start the cluster with both TaskQueues, and a Prometheus of ``binary``; all of it ends with the context."""
    targets = folder / "workers.json"
    targets.parent.mkdir(parents=True, exist_ok=True)
    targets.write_text("[]")
    async with LaptopCluster(state_dir=folder / "cluster", app_dir=folder, stop_s=5) as cluster:
        scrapes = _scrape_configs(cluster.operator_port, targets)
        async with Prometheus(binary, folder / "prometheus", scrapes, interval_s=SCRAPE_S) as prometheus:
            following = asyncio.create_task(_follow_pods(cluster, targets))
            try:
                for name, queue in QUEUES.items():
                    await _apply(cluster, name, queue)
                yield Stage(cluster, prometheus)
            finally:
                following.cancel()
                await asyncio.wait([following])


def _scrape_configs(operator_port: int, targets: Path) -> list[dict[str, Any]]:
    operator = {
        "targets": [f"127.0.0.1:{operator_port}"],
        "labels": {"namespace": OPERATOR_NAMESPACE, "service": OPERATOR_JOB, "pod": "arqube-operator-0"},
    }
    return [
        {"job_name": OPERATOR_JOB, "honor_labels": True, "static_configs": [operator]},
        {
            "job_name": f"{OPERATOR_NAMESPACE}/arqube-workers",
            "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
        },
    ]


async def _follow_pods(cluster: LaptopCluster, targets: Path) -> None:
    """Write the workers' addresses and labels for Prometheus whenever they change."""
    written = ""
    while True:
        pods, _ = await cluster.client.list(PODS, NAMESPACE)
        text = json.dumps([target for pod in pods if (target := _target(pod)) is not None])
        if text != written:
            fresh = targets.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(targets)
            written = text
        await asyncio.sleep(_TURN_S)


def _target(pod: dict[str, Any]) -> dict[str, Any] | None:
    """A worker pod as a PodMonitor finds it; None before it has a port."""
    metadata = pod["metadata"]
    ports: dict[str, int] = json.loads(metadata.get("annotations", {}).get(PORTS_ANNOTATION, "{}"))
    task_queue = metadata.get("labels", {}).get(TASK_QUEUE_LABEL)
    if not ports or task_queue is None:
        return None
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"], "taskqueue": task_queue}
    return {"targets": [f"127.0.0.1:{port}" for port in ports.values()], "labels": {**labels, "container": "worker"}}


async def _apply(cluster: LaptopCluster, name: str, queue: str) -> None:
    spec = {
        "redis": {"host": "127.0.0.1", "port": cluster.redis.address.port},
        "queueName": queue,
        "worker": {"image": "app:1", "settings": "arqube_local.monitoring.app.WorkerSettings", "concurrency": 5},
        "scaling": {
            "maxReplicas": 3,
            "maxWait": "2s",
            "cooldown": "3s",
            "scaleDown": {"stabilization": "4s"},
        },
        "shutdown": {"timeout": "3s"},
    }
    body = {"apiVersion": TASK_QUEUES.api_version, "kind": TASK_QUEUES.kind, "metadata": {"name": name}, "spec": spec}
    await cluster.client.apply(TASK_QUEUES, NAMESPACE, name, body, field_manager="arqube-monitoring")
