"""Deletion: what goes with an object, what holds it, and who has the last word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from arqube_operator.kube.client import PODS, Resource
from builders.api_objects import CONFIG_MAPS, NAMESPACES, config_map, pod, widget

Eventually = Callable[..., Awaitable[Any]]


async def test_what_an_object_owns_goes_with_it(
    api: Any, namespace: str, widgets: Resource, eventually: Eventually
) -> None:
    owner = await api.client.create(widgets, namespace, widget(), field_manager="t")
    other = await api.client.create(widgets, namespace, widget("other"), field_manager="t")
    owners = [_reference(owner), _reference(other)]
    for name, references in {"one": owners[:1], "two": owners, "none": []}.items():
        body = config_map(name, {"ownerReferences": references})
        await api.client.create(CONFIG_MAPS, namespace, body, field_manager="t")
    await api.client.delete(widgets, namespace, "w")

    async def is_gone() -> bool:
        return await api.client.get(CONFIG_MAPS, namespace, "one") is None

    await eventually(is_gone, within_s=40)
    assert await api.client.get(CONFIG_MAPS, namespace, "two"), "its other owner is there"
    assert await api.client.get(CONFIG_MAPS, namespace, "none")


async def test_a_finalizer_holds_an_object(api: Any, namespace: str, widgets: Resource) -> None:
    body = widget(metadata={"finalizers": ["arqube.dev/test"]})
    await api.client.create(widgets, namespace, body, field_manager="t")
    await api.client.delete(widgets, namespace, "w")
    held = await api.client.get(widgets, namespace, "w")
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2
    await api.client.patch_metadata(widgets, namespace, "w", {"finalizers": None}, field_manager="t")
    assert await api.client.get(widgets, namespace, "w") is None


async def test_a_pod_on_a_node_goes_when_its_kubelet_says_so(api: Any, namespace: str) -> None:
    body = pod(nodeName="node", terminationGracePeriodSeconds=45)
    await api.client.create(PODS, namespace, body, field_manager="t")
    await api.client.delete(PODS, namespace, "p")
    metadata = (await api.client.get(PODS, namespace, "p"))["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 45
    assert metadata["deletionTimestamp"] > metadata["creationTimestamp"]
    await api.client.delete(PODS, namespace, "p", grace_period_s=0)
    assert await api.client.get(PODS, namespace, "p") is None


async def test_a_namespace_takes_what_is_in_it_along(api: Any, namespace: str, eventually: Eventually) -> None:
    await api.client.create(CONFIG_MAPS, namespace, config_map(), field_manager="t")
    await api.client.delete(NAMESPACES, None, namespace)

    async def is_gone() -> bool:
        return await api.client.get(NAMESPACES, None, namespace) is None

    await eventually(is_gone, within_s=40)
    assert await api.client.get(CONFIG_MAPS, namespace, "c") is None


def _reference(owner: dict[str, Any]) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
