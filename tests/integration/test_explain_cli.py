"""``arqube explain`` against an API server that knows TaskQueues, and a real Redis with their history."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from arqube_local.apiserver import FakeApiServer
from arqube_local.cli import main
from arqube_local.cluster import CRDS, NAMESPACES
from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import EVENTS, TASK_QUEUES, KubeClient
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from builders.odd_redis import OddRedis

QUEUE = "mail"
STATUS = {
    "observedGeneration": 1,
    "replicas": 2,
    "readyReplicas": 2,
    "desiredReplicas": 2,
    "queue": {"waiting": 7, "running": 3, "deferred": 0, "dueSoon": 0, "oldestWait": "4s"},
    "scaling": {
        "reason": "AtMaxReplicas",
        "message": "7 waiting",
        "limit": "MaxReplicas",
        "terms": [{"name": "Backlog", "replicas": 3.5, "message": "7 waiting of 2 s each"}],
    },
    "conditions": [
        {
            "type": "WorkersAvailable",
            "status": "False",
            "reason": "CrashLooping",
            "message": "pod emails-worker-x: it ends with code 1",
            "lastTransitionTime": "2026-01-01T12:00:00Z",
        }
    ],
}

Explain = Callable[..., Awaitable[Result]]


class Cluster:
    def __init__(self, client: KubeClient, kubeconfig: Path) -> None:
        self._client = client
        self.kubeconfig = str(kubeconfig)

    async def create(self, port: int) -> str:
        """Make the TaskQueue with its status and an Event; its uid."""
        body = {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": "emails", "namespace": "shop"},
            "spec": {
                "redis": {"host": "127.0.0.1", "port": port},
                "queueName": QUEUE,
                "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
                "scaling": {"maxReplicas": 2},
            },
        }
        made = await self._client.create(TASK_QUEUES, "shop", body, field_manager="test")
        await self._client.patch_status(TASK_QUEUES, "shop", "emails", STATUS, field_manager="test")
        for name, uid in (("emails", made["metadata"]["uid"]), ("reports", "another")):
            event = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": f"{name}.", "namespace": "shop"},
                "involvedObject": {"kind": "TaskQueue", "name": name, "namespace": "shop", "uid": uid},
                "type": "Normal",
                "reason": "ScaledUp",
                "message": f"scaled {name} up from 1 to 2",
                "firstTimestamp": "2026-01-01T12:00:00Z",
                "lastTimestamp": "2026-01-01T12:00:00Z",
                "count": 1,
            }
            await self._client.create(EVENTS, "shop", event, field_manager="test")
        return str(made["metadata"]["uid"])


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    server = FakeApiServer()
    await server.start()
    config = server.kubeconfig()
    config["contexts"][0]["context"]["namespace"] = "shop"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    client = await KubeClient.from_config(str(kubeconfig))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await client.apply(NAMESPACES, None, "shop", namespace, field_manager="test")
    crd = custom_resource_definition()
    await client.apply(CRDS, None, crd["metadata"]["name"], crd, field_manager="test")
    yield Cluster(client, kubeconfig)
    await client.close()
    await server.stop()


@pytest.fixture
def explain(cluster: Cluster) -> Explain:
    async def call(*arguments: str) -> Result:
        command = ["explain", *arguments, "--kubeconfig", cluster.kubeconfig]
        return await asyncio.to_thread(CliRunner().invoke, main, command)

    return call


async def leave_history(redis: Redis, uid: str) -> None:
    """Let a reading of the queue leave its sample, as the operator's do."""
    await redis.zadd(QUEUE, {"job": 1000})
    await read_snapshots(redis, [SnapshotQuery(QUEUE, owner=uid, workers=(2, 1))])


async def test_it_tells_the_decision_the_remedy_the_trouble_the_plot_and_its_own_events(
    explain: Explain, cluster: Cluster, redis: Redis, redis_server: RedisServer
) -> None:
    await leave_history(redis, await cluster.create(redis_server.address.port))

    result = await explain("emails")

    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "TaskQueue shop/emails 2 workers wanted, 2 ready" in text
    assert "Backlog 3.5 7 waiting of 2 s each" in text
    assert "Limit MaxReplicas. The jobs need more workers than spec.scaling.maxReplicas (2) allows." in text
    assert "Attention WorkersAvailable, CrashLooping: pod emails-worker-x: it ends with code 1" in text
    assert "waiting 1 " in text
    assert "workers 2 " in text
    assert "ScaledUp: scaled emails up from 1 to 2" in text
    assert "reports" not in text
    assert "\x1b" not in result.output
    assert max(map(len, result.output.splitlines())) <= 80


async def test_as_json_it_holds_the_status_as_it_is_and_the_history(
    explain: Explain, cluster: Cluster, redis: Redis, redis_server: RedisServer
) -> None:
    await leave_history(redis, await cluster.create(redis_server.address.port))

    told: dict[str, Any] = json.loads((await explain("emails", "-n", "shop", "--json")).output)

    assert told["status"]["scaling"] == STATUS["scaling"]
    assert told["remedy"].startswith("The jobs need more workers")
    assert [entry["type"] for entry in told["attention"]] == ["WorkersAvailable"]
    assert [event["message"] for event in told["events"]] == ["scaled emails up from 1 to 2"]
    (sample,) = told["history"]
    assert (sample["waiting"], sample["replicas"], sample["ready"]) == (1, 2, 1)
    assert told["without_history"] is None


async def test_a_redis_out_of_reach_leaves_the_rest(explain: Explain, cluster: Cluster) -> None:
    await cluster.create(free_port())

    result = await explain("emails")

    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "7 waiting, the oldest for 4s" in text
    assert "No history Redis at 127.0.0.1:" in text
    assert "ScaledUp" in text


async def test_a_redis_that_is_none_leaves_the_rest(
    explain: Explain, cluster: Cluster, redis_server: RedisServer
) -> None:
    async with OddRedis(redis_server.address) as odd:
        await odd.become(b"*-1\r\n")
        await cluster.create(odd.address.port)

        result = await explain("emails")

    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "7 waiting, the oldest for 4s" in text
    assert f"Redis at 127.0.0.1:{odd.address.port}/0 cannot be read from here: this is no answer of Redis" in text


async def test_watch_tells_again_and_again_until_ctrl_c(
    cluster: Cluster, redis: Redis, redis_server: RedisServer
) -> None:
    await leave_history(redis, await cluster.create(redis_server.address.port))
    # A shell's background jobs, as a test run may be, hand on that SIGINT is ignored.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heed}; from arqube_local.cli import main; main()"
    command = [sys.executable, "-c", program, "explain", "emails", "--watch"]
    process = await asyncio.create_subprocess_exec(
        *command, "--json", "--kubeconfig", cluster.kubeconfig, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        looks = [json.loads(await asyncio.wait_for(process.stdout.readline(), 60)) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert looks[0]["at"] < looks[1]["at"]


async def test_a_task_queue_that_is_not_there_is_named(explain: Explain) -> None:
    result = await explain("emails")
    assert result.exit_code == 1
    assert "there is no TaskQueue 'emails' in namespace 'shop'" in result.output
