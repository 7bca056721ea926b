"""Operators of a release and of today share a Lease on the laptop cluster: workers stay as they are through takeovers.

As in a rolling update: one leads, the other comes and stands by, the first goes; from the release to today and back.
The workers are real and under load; what they ran is told by a file beside Redis.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool

from arqube_local.cluster import LaptopCluster
from arqube_local.loopback import free_port
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, LEASES, PODS, TASK_QUEUES
from builders.releases import Release

pytestmark = pytest.mark.timeout(300)

NAMESPACE = "default"
SLOW_S = 90.0
HELD = 3
"""Jobs that hold a worker each through the takeovers."""
APP = """
import asyncio
import os
from pathlib import Path

async def hold(ctx, go):
    while not Path(go).exists():
        await asyncio.sleep(0.05)

async def note(ctx, path, number):
    await asyncio.sleep(0.02)
    with open(path, "a") as file:
        file.write(f"{number}\\n")

class WorkerSettings:
    functions = [hold, note]
"""

Start = Callable[[str, str], "Operator"]


class Operator:
    """``arqube-operator`` of one version, in a process of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.port = int(environment["ARQUBE_HTTP_PORT"])
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    async def leads(self) -> bool:
        with suppress(OSError):
            return "arqube_operator_leader 1.0" in await asyncio.to_thread(self._metrics)
        return False

    async def stands_by(self) -> bool:
        with suppress(OSError):
            return "arqube_operator_leader 0.0" in await asyncio.to_thread(self._metrics)
        return False

    async def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, SLOW_S)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    """One without an operator, which has the definition of today: it is upgraded first."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    async with LaptopCluster(state_dir=tmp_path / "state", app_dir=tmp_path / "app", operator=False) as started:
        yield started


@pytest_asyncio.fixture
async def client(cluster: LaptopCluster) -> AsyncIterator[ArqRedis]:
    pool = await create_pool(RedisSettings(port=cluster.redis.address.port))
    yield pool
    await pool.aclose(close_connection_pool=True)


@pytest.fixture
def start(released: Release, cluster: LaptopCluster, tmp_path: Path) -> Iterator[Start]:
    """``start("released", "name")``: an operator of that version."""
    operators: list[Operator] = []

    def begin(version: str, name: str) -> Operator:
        environment = {
            **released.environment(),
            "KUBECONFIG": cluster.kubeconfig,
            "ARQUBE_OPERATOR_IDENTITY": name,
            "ARQUBE_HTTP_PORT": str(free_port()),
            "ARQUBE_WORKER_IMAGE": "arqube-worker:1",  # with another one each would roll the workers out
        }
        if version == "today's":
            del environment["PYTHONPATH"]
        python = released.python if version == "released" else sys.executable
        command = [str(python), "-m", "arqube_operator"]
        operators.append(Operator(command, environment, tmp_path / f"{name}.log"))
        return operators[-1]

    yield begin
    for operator in operators:
        operator.end()


async def apply(cluster: LaptopCluster) -> None:
    spec = {
        "redis": {"host": "127.0.0.1", "port": cluster.redis.address.port},
        "worker": {"image": "emails:1", "settings": "app.WorkerSettings", "concurrency": 2},
        "scaling": {"maxReplicas": HELD, "jobsPerReplica": 1, "cooldown": "0s", "scaleDown": {"stabilization": "0s"}},
    }
    body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "emails"}, "spec": spec}
    await cluster.client.apply(TASK_QUEUES, NAMESPACE, "emails", body, field_manager="test")


async def test_workers_stay_as_they_are_through_an_upgrade_and_a_rollback(
    cluster: LaptopCluster, client: ArqRedis, start: Start, eventually: Any, tmp_path: Path
) -> None:
    versions = ("released", "today's", "released")
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    ledger.touch()
    leader = start(versions[0], "operator-0")
    await eventually(leader.leads, within_s=SLOW_S)
    await apply(cluster)
    for _ in range(HELD):
        await client.enqueue_job("hold", str(go))

    async def all_work() -> bool:
        status = (await deployment(cluster)).get("status", {})
        return status.get("readyReplicas") == HELD and len(await client.keys("arq:in-progress:*")) == HELD

    await eventually(all_work, within_s=SLOW_S)
    before, pods = await deployment(cluster), await pod_names(cluster)
    enough = asyncio.Event()
    load = asyncio.create_task(produce(client, ledger, enough))
    for number, version in enumerate(versions[1:], start=1):
        heir = start(version, f"operator-{number}")
        await eventually(heir.stands_by, within_s=SLOW_S)
        assert await leader.leads()
        assert await leader.stop() == 0
        await eventually(heir.leads, within_s=SLOW_S)
        await eventually(lambda number=number: decided(cluster, f"operator-{number}", client), within_s=SLOW_S)
        leader = heir

    after = await deployment(cluster)
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert await pod_names(cluster) == pods
    enough.set()
    enqueued = await load
    go.touch()

    async def at_zero() -> bool:
        return (await deployment(cluster))["spec"]["replicas"] == 0 and not await pod_names(cluster)

    await eventually(at_zero, within_s=SLOW_S)
    assert Counter(map(int, ledger.read_text().split())) == dict.fromkeys(range(enqueued), 1)
    reasons = Counter(event["reason"] for event in (await cluster.client.list(EVENTS, NAMESPACE))[0])
    assert not {reason for reason in reasons if "Fail" in reason or "Invalid" in reason}, reasons
    assert await leader.stop() == 0


async def deployment(cluster: LaptopCluster) -> dict[str, Any]:
    found: dict[str, Any] = await cluster.client.get(DEPLOYMENTS, NAMESPACE, "emails-worker") or {}
    return found


async def pod_names(cluster: LaptopCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in (await cluster.client.list(PODS, NAMESPACE))[0]}


async def decided(cluster: LaptopCluster, name: str, client: ArqRedis) -> bool:
    """Whether the operator of that name holds the Lease and has written what it saw of the queue."""
    lease = await cluster.client.get(LEASES, NAMESPACE, "arqube-operator")
    assert lease is not None
    if lease["spec"]["holderIdentity"] != name:
        return False
    return await seen(cluster, await client.zcard("arq:queue"))


async def seen(cluster: LaptopCluster, members: int) -> bool:
    """Whether the status tells of about as many jobs as are there."""
    body = await cluster.client.get(TASK_QUEUES, NAMESPACE, "emails")
    assert body is not None
    queue = body.get("status", {}).get("queue", {})
    return bool(queue) and abs(queue["waiting"] + queue["running"] - members) <= 5


async def produce(client: ArqRedis, ledger: Path, enough: asyncio.Event) -> int:
    """Enqueue short jobs until there are enough; how many. If it were cancelled, Redis might have one more."""
    number = 0
    while not enough.is_set():
        await client.enqueue_job("note", str(ledger), number)
        number += 1
        await asyncio.sleep(0.05)
    return number
