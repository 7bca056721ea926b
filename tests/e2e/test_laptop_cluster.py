"""The laptop cluster as its users meet it: kubectl, a TaskQueue, plain arq clients, and the ``arqube`` command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
import yaml
from arq import create_pool
from arq.connections import RedisSettings

from arqube_local.cluster import LaptopCluster
from arqube_local.controllers.manager import REPLICA_SETS
from arqube_local.loopback import free_port
from arqube_local.state import Running, running
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES

Eventually = Callable[..., Awaitable[Any]]

NAMESPACE = "default"
SLOW_S = 60.0
"""Deadline of what takes a few seconds on an idle machine."""
JOBS = 40
ARQUBE_LOCAL = (sys.executable, "-c", "from arqube_local.cli import main; main()", "local")

APP = """
import asyncio

async def work(ctx, number):
    await asyncio.sleep(0.2)
    await ctx["redis"].rpush("done", number)

class WorkerSettings:
    functions = [work]
"""
TASK_QUEUE = """
apiVersion: arqube.dev/v1alpha1
kind: TaskQueue
metadata: {{name: emails}}
spec:
  redis: {{host: 127.0.0.1, port: {port}}}
  worker: {{image: "emails:1", settings: app.WorkerSettings, concurrency: 10}}
  scaling: {{minReplicas: 0, maxReplicas: 2, cooldown: 1s}}
  shutdown: {{timeout: 5s}}
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    async with LaptopCluster(state_dir=tmp_path / "state", app_dir=tmp_path / "app") as started:
        yield started


async def kubectl(kubeconfig: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def tree(pid: int) -> set[int]:
    """Process ids of ``pid`` and all it has started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


async def enqueue(port: int, count: int) -> None:
    """As any arq application does, knowing nothing of Arqube."""
    pool = await create_pool(RedisSettings(port=port))
    for number in range(count):
        await pool.enqueue_job("work", number)
    await pool.aclose()


async def done(port: int) -> list[int]:
    pool = await create_pool(RedisSettings(port=port))
    numbers = [int(number) for number in await pool.lrange("done", 0, -1)]  # type: ignore[misc]
    await pool.aclose()
    return sorted(numbers)


async def replicas(cluster: LaptopCluster) -> int | None:
    found = await cluster.client.get(DEPLOYMENTS, NAMESPACE, "emails-worker")
    return None if found is None else found["spec"]["replicas"]


async def pods(cluster: LaptopCluster) -> list[dict[str, Any]]:
    return (await cluster.client.list(PODS, NAMESPACE))[0]


def worker_pids(found: list[dict[str, Any]]) -> list[int]:
    statuses = [status for pod in found for status in pod.get("status", {}).get("containerStatuses", [])]
    return [int(status["containerID"].removeprefix("process://")) for status in statuses if "containerID" in status]


async def test_an_image_that_cannot_run_the_runtime_says_so_in_the_status(
    cluster: LaptopCluster, tmp_path: Path, eventually: Eventually
) -> None:
    # A Python that sees no installed package stands for an image without arq.
    command = [sys.executable, "-S", "/opt/arqube-runtime/run.py"]
    body = yaml.safe_load(TASK_QUEUE.format(port=cluster.redis.address.port))
    body["spec"]["worker"]["podTemplate"] = {"spec": {"containers": [{"name": "worker", "command": command}]}}
    body["spec"]["scaling"]["minReplicas"] = 1
    manifest = tmp_path / "taskqueue.yaml"
    manifest.write_text(yaml.safe_dump(body))
    await kubectl(cluster.kubeconfig, "apply", "-f", str(manifest))

    async def refused() -> str:
        found = await cluster.client.get(TASK_QUEUES, NAMESPACE, "emails") or {}
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
        available = conditions.get("WorkersAvailable", {})
        return available["message"] if available.get("reason") == "RuntimeIncompatible" else ""

    message = await eventually(refused, within_s=SLOW_S)
    assert "this image cannot run arqube-worker" in message
    assert "has no arq: install it" in message


async def test_a_task_queue_from_zero_and_back_and_gone(
    cluster: LaptopCluster, tmp_path: Path, eventually: Eventually
) -> None:
    port = cluster.redis.address.port
    manifest = tmp_path / "taskqueue.yaml"
    manifest.write_text(TASK_QUEUE.format(port=port))
    assert "created" in await kubectl(cluster.kubeconfig, "apply", "-f", str(manifest))

    async def at_zero() -> bool:
        return await replicas(cluster) == 0 and not await pods(cluster)

    async def all_done() -> bool:
        return len(await done(port)) >= JOBS

    async def some_pods() -> list[int]:
        return worker_pids(await pods(cluster))

    await eventually(at_zero, within_s=SLOW_S)
    await enqueue(port, JOBS)
    pids = await eventually(some_pods, within_s=SLOW_S)
    await eventually(all_done, within_s=SLOW_S)
    assert await done(port) == list(range(JOBS))
    assert "emails" in await kubectl(cluster.kubeconfig, "get", "tq")
    await eventually(at_zero, within_s=SLOW_S)
    assert not any(map(alive, pids))

    await enqueue(port, 1)
    pids = await eventually(some_pods, within_s=SLOW_S)
    await kubectl(cluster.kubeconfig, "delete", "tq", "emails")

    async def nothing_left() -> bool:
        kinds = (TASK_QUEUES, DEPLOYMENTS, REPLICA_SETS, PODS)
        return not any([(await cluster.client.list(kind, NAMESPACE))[0] for kind in kinds])

    await eventually(nothing_left, within_s=SLOW_S)
    assert not any(map(alive, pids))


async def start(folder: Path, eventually: Eventually, *further: str) -> tuple[asyncio.subprocess.Process, Running]:
    """``arqube local up`` on ``folder`` with a TaskQueue of one worker; returns once the worker runs."""
    (folder / "app.py").write_text(APP)
    manifest = folder / "taskqueue.yaml"
    port = free_port()
    manifest.write_text(TASK_QUEUE.format(port=port).replace("minReplicas: 0", "minReplicas: 1"))
    state = folder / "state"
    log = folder / "up.log"
    options = [f"--state-dir={state}", f"--app-dir={folder}", f"--redis-port={port}", "-f", str(manifest), *further]
    with log.open("wb") as output:
        up = await asyncio.create_subprocess_exec(*ARQUBE_LOCAL, "up", *options, stdout=output, stderr=output)
    try:
        found: Running = await eventually(lambda: running(state), within_s=SLOW_S)

        async def worker_runs() -> bool:
            return '"running"' in await kubectl(found.kubeconfig, "get", "pods", "-o", "json")

        await eventually(worker_runs, within_s=SLOW_S)
        assert found.kubeconfig in log.read_text()
    except BaseException:
        up.terminate()
        await up.wait()
        raise
    return up, found


async def test_ctrl_c_stops_every_process_of_the_cluster(tmp_path: Path, eventually: Eventually) -> None:
    up, _ = await start(tmp_path, eventually)
    everything = tree(up.pid)
    assert len(everything) >= 5  # itself, the reaper, Redis, the operator, a worker
    up.send_signal(signal.SIGINT)
    assert await up.wait() == 0
    assert not any(map(alive, everything))
    assert running(tmp_path / "state") is None


async def test_a_laptop_s_console_is_on_the_port_that_was_named(tmp_path: Path, eventually: Eventually) -> None:
    port = free_port()
    up, _ = await start(tmp_path, eventually, f"--console-port={port}")
    token_file = tmp_path / "state" / "console-token"

    async def shown() -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"http://localhost:{port}/") as answer:
            return "/queues/default/emails" in await answer.text()

    await eventually(shown, within_s=SLOW_S)
    assert str(token_file) in (tmp_path / "up.log").read_text()
    assert token_file.stat().st_mode & 0o077 == 0, "its owner's alone"
    up.send_signal(signal.SIGINT)
    assert await up.wait() == 0


async def test_a_killed_cluster_leaves_no_process_and_can_start_again(tmp_path: Path, eventually: Eventually) -> None:
    up, _ = await start(tmp_path, eventually)
    everything = tree(up.pid)
    up.kill()
    await up.wait()
    await eventually(lambda: not any(map(alive, everything)), within_s=SLOW_S)
    assert running(tmp_path / "state") is None

    again, found = await start(tmp_path, eventually)
    down = await asyncio.create_subprocess_exec(*ARQUBE_LOCAL, "down", f"--state-dir={tmp_path / 'state'}")
    assert await down.wait() == 0
    assert await again.wait() == 0
    assert found.pid == again.pid
