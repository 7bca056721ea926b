"""Changes of objects: versions and generations, statuses, metadata, replicas, and what cannot change."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.kube.client import DEPLOYMENTS, LEASES, PODS, Resource
from builders.api_objects import BODIES, CONFIG_MAPS, WIDGETS, config_map, deployment, lease, pod, refused, widget

# Versions and generations


@pytest.mark.parametrize(("resource", "body"), BODIES)
async def test_a_replace_of_an_old_version_is_a_conflict(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any]
) -> None:
    old = await api.client.create(resource, namespace, body, field_manager="t")
    name = old["metadata"]["name"]
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"app": "a", "x": "1"}}}
    new = await api.client.replace(resource, namespace, name, labelled, field_manager="t")
    assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
    error = await refused(api.client.replace(resource, namespace, name, labelled, field_manager="t"))
    assert (error.status, error.reason) == (409, "Conflict")
    other = {**new, "metadata": {**new["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    error = await refused(api.client.replace(resource, namespace, name, other, field_manager="t"))
    assert (error.status, error.reason) == (409, "Conflict")


@pytest.mark.parametrize(
    ("resource", "body", "needed"),
    [
        pytest.param(WIDGETS, widget(), True, id="a custom object: yes"),
        pytest.param(LEASES, lease(), True, id="a Lease: yes"),
        pytest.param(CONFIG_MAPS, config_map(), False, id="a ConfigMap: no"),
        pytest.param(DEPLOYMENTS, deployment(), False, id="a Deployment: no"),
    ],
)
async def test_whether_a_replace_must_name_its_version(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any], needed: bool
) -> None:
    name = body["metadata"]["name"]
    await api.client.create(resource, namespace, body, field_manager="t")
    replacing = api.client.replace(resource, namespace, name, body, field_manager="t")
    if needed:
        error = await refused(replacing)
        assert error.status == 422
        assert "metadata.resourceVersion" in error.message
    else:
        await replacing


async def test_a_replace_of_nothing_is_404(api: Any, namespace: str) -> None:
    body = config_map(metadata={"resourceVersion": "1"})
    assert (await refused(api.client.replace(CONFIG_MAPS, namespace, "c", body, field_manager="t"))).status == 404


@pytest.mark.parametrize(
    ("resource", "body", "change"),
    [
        pytest.param(WIDGETS, widget(), {"size": 4}, id="a custom object's"),
        pytest.param(DEPLOYMENTS, deployment(), {"replicas": 4}, id="a Deployment's"),
    ],
)
async def test_the_generation_counts_changes_of_the_spec_alone(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any], change: dict[str, Any]
) -> None:
    name = body["metadata"]["name"]
    first = await api.client.apply(resource, namespace, name, body, field_manager="t")
    assert first["metadata"]["generation"] == 1
    with_status = await api.client.patch_status(resource, namespace, name, {"replicas": 2}, field_manager="t")
    assert with_status["metadata"]["generation"] == 1
    labelled = await api.client.patch_metadata(resource, namespace, name, {"labels": {"x": "y"}}, field_manager="t")
    assert labelled["metadata"]["generation"] == 1
    changed = {**body, "spec": {**body["spec"], **change}}
    again = await api.client.apply(resource, namespace, name, changed, field_manager="t")
    assert again["metadata"]["generation"] == 2
    same = await api.client.apply(resource, namespace, name, changed, field_manager="t")
    assert same["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"], "nothing changed"


# Status and metadata


async def test_the_status_is_written_through_its_subresource_alone(api: Any, namespace: str, widgets: Resource) -> None:
    client = api.client
    created = await client.create(widgets, namespace, {**widget(), "status": {"replicas": 9}}, field_manager="t")
    assert "status" not in created
    status = {"replicas": 1, "observedGeneration": 1}
    written = await client.patch_status(widgets, namespace, "w", status, field_manager="t")
    assert written["status"] == status
    body = {**written, "spec": {"colour": "green"}, "status": {"replicas": 5}}
    replaced = await client.replace(widgets, namespace, "w", body, field_manager="t")
    assert (replaced["spec"]["colour"], replaced["status"]) == ("green", status)
    removed = await client.patch_status(widgets, namespace, "w", {"observedGeneration": None}, field_manager="t")
    assert removed["status"] == {"replicas": 1}
    error = await refused(client.patch_status(widgets, namespace, "absent", status, field_manager="t"))
    assert error.status == 404


async def test_metadata_is_merged_and_none_takes_away(api: Any, namespace: str) -> None:
    metadata = {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}
    before = await api.client.create(PODS, namespace, pod(), field_manager="t")
    after = await api.client.patch_metadata(PODS, namespace, "p", metadata, field_manager="t")
    assert after["metadata"]["annotations"] == metadata["annotations"]
    assert after["metadata"]["labels"] == {"app": "a"}
    assert after["spec"] == before["spec"]
    without = await api.client.patch_metadata(PODS, namespace, "p", {"annotations": None}, field_manager="t")
    assert "annotations" not in without["metadata"]


@pytest.mark.parametrize(
    ("resource", "body", "spec", "told"),
    [
        pytest.param(
            DEPLOYMENTS, deployment(), {"selector": {"matchLabels": {"app": "b"}}}, "immutable", id="a selector"
        ),
        pytest.param(PODS, pod(), {"nodeName": "n"}, "pod updates may not change fields", id="a pod's node"),
    ],
)
async def test_what_cannot_change_is_refused(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any], spec: dict[str, Any], told: str
) -> None:
    live = await api.client.create(resource, namespace, body, field_manager="t")
    template = live["spec"].get("template", {})
    labels = spec.get("selector", {}).get("matchLabels", {})
    changed = {**live["spec"], **spec, **({"template": {**template, "metadata": {"labels": labels}}} if labels else {})}
    error = await refused(
        api.client.replace(resource, namespace, live["metadata"]["name"], {**live, "spec": changed}, field_manager="t")
    )
    assert error.status == 422
    assert told in error.message


# Scale


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        pytest.param(WIDGETS, widget(), id="of a custom object"),
        pytest.param(DEPLOYMENTS, deployment(), id="of a Deployment"),
    ],
)
async def test_scale_writes_the_replicas(api: Any, namespace: str, resource: Resource, body: dict[str, Any]) -> None:
    name = body["metadata"]["name"]
    await api.client.create(resource, namespace, body, field_manager="t")
    scale = await api.client.scale(resource, namespace, name, 4, field_manager="s")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 4})
    live = await api.client.get(resource, namespace, name)
    assert (live["spec"]["replicas"], live["metadata"]["generation"]) == (4, 2)
    assert scale["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    scale = await api.client.scale(resource, namespace, name, 0, field_manager="s")
    assert scale["spec"] == {}, "zero is left out"
    error = await refused(api.client.scale(resource, namespace, name, -1, field_manager="s"))
    assert error.status == 422
    assert (await refused(api.client.scale(resource, namespace, "absent", 1, field_manager="s"))).status == 404


async def test_the_scale_of_a_custom_object_shows_its_status(api: Any, namespace: str, widgets: Resource) -> None:
    await api.client.create(widgets, namespace, widget(), field_manager="t")
    status = {"replicas": 2, "selector": "a=b"}
    await api.client.patch_status(widgets, namespace, "w", status, field_manager="t")
    assert (await api.client.scale(widgets, namespace, "w", 3, field_manager="s"))["status"] == status


# Leases


async def test_of_two_who_take_a_lease_one_is_told(api: Any, namespace: str) -> None:
    free = await api.client.create(LEASES, namespace, lease(holderIdentity=""), field_manager="t")
    bodies = [{**free, "spec": {**free["spec"], "holderIdentity": each}} for each in ("a", "b")]
    taken = await api.client.replace(LEASES, namespace, "l", bodies[0], field_manager="t")
    assert taken["spec"]["holderIdentity"] == "a"
    error = await refused(api.client.replace(LEASES, namespace, "l", bodies[1], field_manager="t"))
    assert (error.status, error.reason) == (409, "Conflict")
