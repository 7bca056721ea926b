"""A real Prometheus with our rules watches a laptop cluster on which things break: the right alerts fire, and no other.

The rules are the chart's file with every time of it divided by 15, so that 5 minutes pass in 20 s. What starts or
breaks takes as long as ever, so this is harder on the rules than real life is. Each trouble has a TaskQueue of its own,
all at once, beside one that is well: every alert must also name the right one.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from arqube_local.cluster import LaptopCluster
from arqube_local.kubelet.pod import PORTS_ANNOTATION
from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.decide.manifest import TASK_QUEUE_LABEL
from arqube_operator.kube.client import PODS, TASK_QUEUES
from arqube_queue.environment import DEFAULT_HTTP_PORT

Eventually = Callable[..., Awaitable[Any]]

RULES = Path(__file__).parents[2] / "charts" / "arqube" / "rules" / "arqube.yaml"
FASTER = 15
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NAMESPACE = "default"
SLOW_S = 60.0
"""Deadline of what takes a few seconds on an idle machine."""

APP = """
import asyncio

async def hold(ctx):
    while not await ctx["redis"].exists("release"):
        await asyncio.sleep(0.1)

class WorkerSettings:
    functions = [hold]
"""


def faster(text: str) -> str:
    """A duration, or all those in brackets of an expression, divided by ``FASTER``."""
    return re.sub(r"(\d+)([smhd])\b", lambda found: f"{int(found[1]) * UNITS_S[found[2]] * 1000 // FASTER}ms", text)


def faster_rules() -> dict[str, Any]:
    """The chart's rules, with less patience."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["for"] = faster(rule["for"])
        rule["expr"] = re.sub(r"\[\w+\]", lambda found: faster(found[0]), rule["expr"])
    return rules


LONGEST_FOR_S = max(
    int(rule["for"].removesuffix("ms")) / 1000 for group in faster_rules()["groups"] for rule in group["rules"]
)


class Prometheus:
    """A Prometheus that scrapes operator and workers with the labels that the chart's monitors give them."""

    def __init__(self, program: str, folder: Path, cluster: LaptopCluster) -> None:
        self._program = program
        self._folder = folder
        self._cluster = cluster
        self._url = f"http://127.0.0.1:{free_port()}"
        operator = {
            "targets": [f"127.0.0.1:{cluster.operator_port}"],
            "labels": {"namespace": NAMESPACE, "pod": "operator-0"},
        }
        # Debian's Prometheus cannot ask Kubernetes: a file tells the pods.
        workers = [{"files": ["workers.json"], "refresh_interval": "1s"}]
        self._config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "arqube-operator", "honor_labels": True, "static_configs": [operator]},
                {"job_name": "arqube-workers", "file_sd_configs": workers},
            ],
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Prometheus]:
        """Run it, until this is left."""
        (self._folder / "rules.yaml").write_text(yaml.safe_dump(faster_rules()))
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(self._config))
        options = {"config.file": "prometheus.yaml", "storage.tsdb.path": "data"}
        options["web.listen-address"] = self._url.removeprefix("http://")
        with (self._folder / "prometheus.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *(f"--{name}={value}" for name, value in options.items()),
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        discovery = asyncio.create_task(self._tell_workers(), name="discovery")
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as self._session:
                yield self
        finally:
            discovery.cancel()
            await asyncio.wait([discovery])
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _tell_workers(self) -> None:
        """Write where the workers' pods listen, again and again."""
        path, fresh = self._folder / "workers.json", self._folder / "workers.json.new"
        while True:
            targets = []
            for pod in (await self._cluster.client.list(PODS, NAMESPACE))[0]:
                metadata = pod["metadata"]
                if (ports := metadata.get("annotations", {}).get(PORTS_ANNOTATION)) is not None:
                    labels = {
                        "namespace": metadata["namespace"],
                        "taskqueue": metadata["labels"][TASK_QUEUE_LABEL],
                        "pod": metadata["name"],
                    }
                    port = json.loads(ports)[str(DEFAULT_HTTP_PORT)]
                    targets.append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
            fresh.write_text(json.dumps(targets))
            fresh.rename(path)
            await asyncio.sleep(0.5)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query; none while it is not up yet."""
        try:
            async with self._session.get(f"{self._url}/api/v1/query", params={"query": expression}) as response:
                body = await response.json() if response.ok else {"data": {"result": []}}
        except (aiohttp.ClientError, TimeoutError):
            return []
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    async def firing(self, within: str = "") -> dict[str, set[str]]:
        """Names of the alerts that fire, by TaskQueue; or that have fired at any time ``within`` a range."""
        found: dict[str, set[str]] = {}
        firing = 'ALERTS{alertstate="firing"}'
        for series in await self.query(f"last_over_time({firing}{within})" if within else firing):
            labels = series["metric"]
            found.setdefault(labels.get("taskqueue", ""), set()).add(labels["alertname"])
        return found

    async def value(self, series: str, task_queue: str) -> float | None:
        """The newest value of a queue's series."""
        found = await self.query(f'max(arqube_taskqueue_{series}{{taskqueue="{task_queue}"}})')
        return float(found[0]["value"][1]) if found else None


async def apply(cluster: LaptopCluster, name: str, redis: RedisServer) -> None:
    """A TaskQueue that has one worker at all times and no more, which runs one job at a time."""
    body = {
        "apiVersion": TASK_QUEUES.api_version,
        "kind": TASK_QUEUES.kind,
        "metadata": {"name": name},
        "spec": {
            "redis": {"host": redis.address.host, "port": redis.address.port},
            "queueName": name,
            "worker": {"image": f"{name}:1", "settings": f"{name}.WorkerSettings", "concurrency": 1},
            "scaling": {"minReplicas": 1, "maxReplicas": 1, "maxWait": "2s"},
            "shutdown": {"timeout": "1s"},
        },
    }
    await cluster.client.apply(TASK_QUEUES, NAMESPACE, name, body, field_manager="test")


async def pods(cluster: LaptopCluster, task_queue: str) -> list[dict[str, Any]]:
    found, _ = await cluster.client.list(PODS, NAMESPACE)
    return [pod for pod in found if pod["metadata"]["labels"][TASK_QUEUE_LABEL] == task_queue]


async def kill_workers(cluster: LaptopCluster, task_queue: str) -> None:
    for pod in await pods(cluster, task_queue):
        for status in pod["status"]["containerStatuses"]:
            os.kill(int(status["containerID"].removeprefix("process://")), signal.SIGKILL)


async def connect(stack: AsyncExitStack, redis: RedisServer) -> ArqRedis:
    pool = await create_pool(RedisSettings(port=redis.address.port))
    stack.push_async_callback(pool.aclose)
    return pool


async def enqueue(pool: ArqRedis, task_queue: str, count: int) -> None:
    for _ in range(count):
        await pool.enqueue_job("hold", _queue_name=task_queue)


@pytest.mark.timeout(240)
async def test_what_breaks_fires_its_own_alert_and_no_other_and_recovers(
    prometheus: str, tmp_path: Path, eventually: Eventually
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name in ("healthy", "flooded", "killed", "cut"):
        (app / f"{name}.py").write_text(APP)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(LaptopCluster(state_dir=tmp_path / "state", app_dir=app))
        redis = cluster.redis
        cut_redis = stack.enter_context(RedisServer(folder=tmp_path / "cut"))
        watcher = await stack.enter_async_context(Prometheus(prometheus, tmp_path, cluster).running())
        pool = await connect(stack, redis)
        for name in ("healthy", "flooded", "killed"):
            await apply(cluster, name, redis)
        await apply(cluster, "cut", cut_redis)

        async def all_are_well() -> bool:
            ready = await watcher.query("arqube_taskqueue_ready_replicas == 1 and arqube_taskqueue_redis_up == 1")
            workers = await watcher.query('up{job="arqube-workers"} == 1')
            return len(ready) == 4 and len(workers) == 4 and await watcher.firing() == {}

        await eventually(all_are_well, within_s=SLOW_S, every_s=0.5)

        # One job runs and ten wait at the one worker that there may be.
        await enqueue(pool, "flooded", 11)
        # So they do here, until Redis dies: what the operator saw last stays as it was.
        cut_pool = await connect(stack, cut_redis)
        await enqueue(cut_pool, "cut", 11)

        async def jobs_are_late() -> bool:
            return all([(await watcher.value("oldest_wait_seconds", each) or 0) > 2 for each in ("flooded", "cut")])

        await eventually(jobs_are_late, within_s=SLOW_S, every_s=0.5)
        assert cut_redis.pid is not None
        os.kill(cut_redis.pid, signal.SIGKILL)
        # The workers die, and what is to follow them cannot start.
        (app / "killed.py").write_text("raise RuntimeError('a broken release')")
        await kill_workers(cluster, "killed")
        await enqueue(pool, "killed", 3)

        expected = {
            "flooded": {"ArqubeAtMaxReplicasWithBacklog"},
            "killed": {"ArqubeQueueStuck"},
            "cut": {"ArqubeRedisUnreachable"},
        }
        broken_at = time.monotonic()

        async def all_fire() -> bool:
            return await watcher.firing() == expected

        await eventually(all_fire, within_s=SLOW_S, every_s=0.5)

        # Each stays as it is until every other rule could have fired, too.
        def the_others_have_had_their_time() -> bool:
            return time.monotonic() > broken_at + 1.5 * LONGEST_FOR_S

        await eventually(the_others_have_had_their_time, within_s=2 * LONGEST_FOR_S, every_s=0.5)
        assert await watcher.firing() == expected

        # The remedies of the runbooks.
        await asyncio.to_thread(cut_redis.stop)
        await asyncio.to_thread(cut_redis.start)
        await pool.set("release", 1)
        (app / "killed.py").write_text(APP)
        for pod in await pods(cluster, "killed"):
            await cluster.client.delete(PODS, NAMESPACE, pod["metadata"]["name"])

        async def none_fires() -> bool:
            return await watcher.firing() == {}

        await eventually(none_fires, within_s=SLOW_S, every_s=0.5)
        await eventually(all_are_well, within_s=SLOW_S, every_s=0.5)
        assert await watcher.firing(within="[10m]") == expected
