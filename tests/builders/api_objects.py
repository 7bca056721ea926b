"""Small objects of the kinds that our client handles, as it sends them to an API server, and how it is refused."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from arqube_operator.kube.client import DEPLOYMENTS, LEASES, PODS, ApiError, Resource

NAMESPACES = Resource("v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
WIDGETS = Resource("contract.arqube.dev/v1", "widgets", "Widget")
"""The contract suite's own kind, ``widgets.yaml``: it has what ours have, and what ours might come to have."""


def widget(name: str = "w", metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": name, **(metadata or {})}}
    return {**body, "spec": {"colour": "red", **spec}}


def config_map(name: str = "c", metadata: dict[str, Any] | None = None, **data: str) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **(metadata or {})}}
    return {**body, "data": data}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "registry.example/app:1"}]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}}}
    return {**body, "spec": {"containers": containers, **spec}}


def deployment(name: str = "d", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod()["spec"]}
    selector = {"matchLabels": {"app": "a"}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
    return {**body, "spec": {"selector": selector, "template": template, **spec}}


def lease(**spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    return {**body, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 10, **spec}}


BODIES = [
    pytest.param(WIDGETS, widget(), id="a custom object"),
    pytest.param(DEPLOYMENTS, deployment(), id="a Deployment"),
    pytest.param(PODS, pod(), id="a pod"),
    pytest.param(CONFIG_MAPS, config_map(a="b"), id="a ConfigMap"),
    pytest.param(LEASES, lease(), id="a Lease"),
]


async def refused(request: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await request
    return caught.value
