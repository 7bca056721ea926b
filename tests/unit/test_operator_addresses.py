"""Which Redis the operator takes a TaskQueue's address for, from a pod in another namespace."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import RedisSpec
from arqube_operator.kube.access import Access, runs_in_pod
from arqube_operator.kube.client import KubeClient
from arqube_operator.observe.addresses import AddressResolver
from arqube_queue.connection import RedisAddress


async def nobody() -> None:
    return None


async def resolved(spec: dict[str, Any], *, in_pod: bool, namespace: str = "shop") -> RedisAddress:
    client = KubeClient(Access("http://127.0.0.1:1", ssl.create_default_context(), nobody))  # for Secrets alone
    resolver = AddressResolver(client, in_pod=in_pod)
    try:
        address = await resolver.resolve(namespace, RedisSpec.model_validate(spec))
    finally:
        resolver.close()
        await client.close()
    assert isinstance(address, RedisAddress)
    return address


@pytest.mark.parametrize(
    ("spec", "host"),
    [
        pytest.param({"host": "redis"}, "redis.shop.svc", id="a short name is a Service beside the TaskQueue"),
        pytest.param({"url": "redis://redis:6380/1"}, "redis.shop.svc", id="also in a URL"),
        pytest.param({"host": "redis.data"}, "redis.data", id="a name with its namespace stays"),
        pytest.param({"host": "cache.example.com"}, "cache.example.com", id="a name outside the cluster stays"),
        pytest.param({"host": "10.1.2.3"}, "10.1.2.3", id="an address stays"),
        pytest.param({"host": "fd00::1"}, "fd00::1", id="an IPv6 address stays"),
        pytest.param({"host": "localhost"}, "localhost", id="the machine itself stays"),
    ],
)
async def test_the_host_in_a_pod(spec: dict[str, Any], host: str) -> None:
    assert (await resolved(spec, in_pod=True)).host == host


async def test_sentinels_are_beside_the_task_queue_too() -> None:
    spec = {"sentinel": {"master": "m", "hosts": ["sentinel-0", "sentinel.data:5000"]}}
    address = await resolved(spec, in_pod=True)
    assert address.sentinels == (("sentinel-0.shop.svc", 26379), ("sentinel.data", 5000))


async def test_outside_the_cluster_names_are_this_machines() -> None:
    assert (await resolved({"host": "redis"}, in_pod=False)).host == "redis"


async def test_the_same_name_in_two_namespaces_is_two_servers() -> None:
    ours, theirs = [await resolved({"host": "redis"}, in_pod=True, namespace=name) for name in ("ours", "theirs")]
    assert ours != theirs


@pytest.mark.parametrize(
    ("kubeconfig", "environment", "expected"),
    [
        pytest.param(None, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, True, id="in a pod"),
        pytest.param("config", {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, False, id="in a pod, for another cluster"),
        pytest.param(None, {}, False, id="elsewhere"),
    ],
)
def test_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, kubeconfig: str | None, environment: dict[str, str], expected: bool
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runs_in_pod(kubeconfig) is expected
