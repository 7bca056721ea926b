"""``arqube dlq --taskqueue``: the queue, its Redis and its Secrets as a TaskQueue of an API server names them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from click.testing import Result
from redis.asyncio import Redis

from arqube_local.apiserver import FakeApiServer
from arqube_local.cluster import CRDS, NAMESPACES
from arqube_local.redis_server import RedisServer
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import SECRETS, TASK_QUEUES, KubeClient
from arqube_queue import keys

QUEUE = "mail"

Cli = Callable[..., Awaitable[Result]]


class Cluster:
    """An API server that knows TaskQueues, and how to make one."""

    def __init__(self, client: KubeClient, kubeconfig: Path, redis_server: RedisServer) -> None:
        self._client = client
        self._address = redis_server.address
        self.kubeconfig = str(kubeconfig)

    async def create(self, name: str = "emails", namespace: str = "shop", **redis: Any) -> None:
        where = redis or {"host": self._address.host, "port": self._address.port}
        body = {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "redis": where,
                "queueName": QUEUE,
                "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
            },
        }
        await self._client.create(TASK_QUEUES, namespace, body, field_manager="test")

    async def create_secret(self, **data: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "redis", "namespace": "shop"},
            "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
        }
        await self._client.create(SECRETS, "shop", body, field_manager="test")


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    server = FakeApiServer()
    await server.start()
    config = server.kubeconfig()
    config["contexts"][0]["context"]["namespace"] = "shop"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    client = await KubeClient.from_config(str(kubeconfig))
    namespaces = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await client.apply(NAMESPACES, None, "shop", namespaces, field_manager="test")
    crd = custom_resource_definition()
    await client.apply(CRDS, None, crd["metadata"]["name"], crd, field_manager="test")
    yield Cluster(client, kubeconfig, redis_server)
    await client.close()
    await server.stop()


@pytest.mark.usefixtures("four")
async def test_a_task_queue_says_where_its_queue_is(invoke: Cli, cluster: Cluster, redis: Redis) -> None:
    await cluster.create()
    named = ("--taskqueue", "emails", "-n", "shop", "--kubeconfig", cluster.kubeconfig)
    assert "bill" in (await invoke("list", *named)).stdout
    assert (await invoke("retry", *named, "bill")).stdout == "retried 1\n"
    assert await redis.zscore(keys.dead_letters(QUEUE), "bill") is None


@pytest.mark.usefixtures("four")
async def test_the_namespace_and_the_cluster_are_those_of_kubectl(invoke: Cli, cluster: Cluster) -> None:
    await cluster.create()
    environ = {"KUBECONFIG": cluster.kubeconfig, "ARQUBE_REDIS_URL": "redis://another"}
    assert "bill" in (await invoke("list", "--taskqueue", "emails", environ=environ)).stdout


@pytest.mark.usefixtures("four")
async def test_the_secrets_of_a_task_queue_are_read(invoke: Cli, cluster: Cluster, redis_server: RedisServer) -> None:
    await cluster.create(urlFrom={"name": "redis", "key": "url"})
    environ = {"KUBECONFIG": cluster.kubeconfig}
    done = await invoke("list", "--taskqueue", "emails", environ=environ)
    assert (done.exit_code, "create Secret 'redis' in namespace 'shop'" in done.stderr) == (1, True)
    await cluster.create_secret(url=redis_server.url)
    assert "bill" in (await invoke("list", "--taskqueue", "emails", environ=environ)).stdout


async def test_a_task_queue_that_is_not_there_is_told(invoke: Cli, cluster: Cluster) -> None:
    done = await invoke("list", "--taskqueue", "emails", environ={"KUBECONFIG": cluster.kubeconfig})
    assert done.exit_code == 1
    assert "there is no TaskQueue 'emails' in namespace 'shop': kubectl get taskqueues -A" in done.stderr


async def test_a_redis_that_only_the_cluster_knows_is_told_with_the_way_to_it(invoke: Cli, cluster: Cluster) -> None:
    await cluster.create(host="redis.data.svc.invalid", passwordFrom={"name": "redis", "key": "pass"})
    await cluster.create_secret(**{"pass": "secretpw"})
    done = await invoke("list", "--taskqueue", "emails", environ={"KUBECONFIG": cluster.kubeconfig})
    assert done.exit_code == 1
    assert "Redis at redis.data.svc.invalid:6379/0 cannot be reached from here" in done.stderr
    assert "kubectl port-forward -n data service/redis 6379:6379" in done.stderr
    assert f"--redis redis://127.0.0.1:6379/0 --queue {QUEUE}" in done.stderr
    assert "ARQUBE_REDIS_PASSWORD" in done.stderr
    assert "secretpw" not in done.output


async def test_a_cluster_that_cannot_be_reached_is_told(invoke: Cli, tmp_path: Path) -> None:
    done = await invoke("list", "--taskqueue", "emails", environ={"KUBECONFIG": str(tmp_path / "none")})
    assert done.exit_code == 1
    assert "the Kubernetes API does not tell about TaskQueue 'emails'" in done.stderr
