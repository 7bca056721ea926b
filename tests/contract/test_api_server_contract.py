"""What our client relies on of an API server: objects and their metadata, statuses, patches, scale, deletion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, LEASES, PODS, SECRETS, ApiError, Resource

CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
NAMESPACES = Resource("v1", "namespaces", "Namespace", namespaced=False)

Eventually = Callable[..., Awaitable[Any]]


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
    pytest.param(Resource("contract.arqube.dev/v1", "widgets", "Widget"), widget(), id="a custom object"),
    pytest.param(DEPLOYMENTS, deployment(), id="a Deployment"),
    pytest.param(PODS, pod(), id="a pod"),
    pytest.param(CONFIG_MAPS, config_map(a="b"), id="a ConfigMap"),
    pytest.param(LEASES, lease(), id="a Lease"),
]


async def refused(request: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await request
    return caught.value


# Objects


@pytest.mark.parametrize(("resource", "body"), BODIES)
async def test_an_object_gets_its_metadata_and_lives_from_create_to_delete(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any]
) -> None:
    created = await api.client.create(resource, namespace, body, field_manager="test")
    metadata = created["metadata"]
    assert metadata["namespace"] == namespace
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["managedFields"][0]["manager"] == "test"
    assert await api.client.get(resource, namespace, metadata["name"]) == created
    error = await refused(api.client.create(resource, namespace, body, field_manager="test"))
    assert (error.status, error.reason) == (409, "AlreadyExists")
    items, version = await api.client.list(resource, namespace)
    assert items == [created]
    assert int(version) >= int(metadata["resourceVersion"])
    await api.client.delete(resource, namespace, metadata["name"])
    assert await api.client.get(resource, namespace, metadata["name"]) is None
    error = await refused(api.client.delete(resource, namespace, metadata["name"]))
    assert (error.status, error.reason) == (404, "NotFound")


async def test_a_name_is_made_from_generate_name(api: Any, namespace: str) -> None:
    body = {**config_map(), "metadata": {"generateName": "c-"}}
    first, second = [await api.client.create(CONFIG_MAPS, namespace, body, field_manager="t") for _ in range(2)]
    assert first["metadata"]["name"].startswith("c-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


@pytest.mark.parametrize(
    ("resource", "body", "status", "told"),
    [
        pytest.param(CONFIG_MAPS, config_map("Upper"), 422, "metadata.name", id="a name in capitals"),
        pytest.param(CONFIG_MAPS, {**config_map(), "kind": "Secret"}, 400, "Secret", id="another kind in the body"),
        pytest.param(CONFIG_MAPS, config_map(metadata={"namespace": "x"}), 400, "namespace", id="another namespace"),
        pytest.param(DEPLOYMENTS, deployment(replicas=-1), 422, "spec.replicas", id="a negative number of replicas"),
        pytest.param(
            DEPLOYMENTS,
            deployment(selector={"matchLabels": {"app": "b"}}),
            422,
            "spec.template.metadata.labels",
            id="a selector that does not match the template",
        ),
        pytest.param(PODS, pod(containers=[]), 422, "spec.containers", id="a pod without containers"),
        pytest.param(PODS, pod(containers=[{"name": "a"}]), 422, "spec.containers[0].image", id="no image"),
    ],
)
async def test_a_bad_object_is_refused(
    api: Any, namespace: str, resource: Resource, body: dict[str, Any], status: int, told: str
) -> None:
    error = await refused(api.client.create(resource, namespace, body, field_manager="t"))
    assert error.status == status
    assert told in error.message


async def test_an_object_needs_its_namespace(api: Any) -> None:
    error = await refused(api.client.create(CONFIG_MAPS, "nowhere", config_map(), field_manager="t"))
    assert (error.status, error.message) == (404, 'namespaces "nowhere" not found')


async def test_a_kind_that_is_not_served_is_404(api: Any, namespace: str) -> None:
    error = await refused(api.client.list(Resource("nowhere.example/v1", "things", "Thing"), namespace))
    assert error.status == 404


async def test_lists_select_by_label_and_span_namespaces(api: Any, namespace: str) -> None:
    for name, labels in {"a": {"x": "1"}, "b": {"x": "2"}, "c": {}}.items():
        body = config_map(name, {"labels": {**labels, "of": namespace}})
        await api.client.create(CONFIG_MAPS, namespace, body, field_manager="t")

    async def selected(selector: str, within: str | None = namespace) -> list[str]:
        items, _ = await api.client.list(CONFIG_MAPS, within, label_selector=selector)
        assert all(item["kind"] == "ConfigMap" for item in items)
        return [item["metadata"]["name"] for item in items if item["metadata"]["name"] in "abc"]

    assert await selected("x=1") == ["a"]
    assert await selected("x!=1") == ["b", "c"]
    assert await selected("x in (1, 2),x notin (2)") == ["a"]
    assert await selected("x") == ["a", "b"]
    assert await selected("!x") == ["c"]
    assert await selected(f"of={namespace}", within=None) == ["a", "b", "c"]


async def test_a_secret_shows_its_plain_strings_encoded(api: Any, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "geheim"}}
    created = await api.client.create(SECRETS, namespace, body, field_manager="t")
    assert created["data"] == {"password": "Z2VoZWlt"}
    assert created["type"] == "Opaque"
    assert "stringData" not in created


async def test_an_event_is_kept(api: Any, namespace: str) -> None:
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": namespace}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "c."},
        "involvedObject": about,
        "reason": "Scaled",
        "message": "Scaled from 0 to 1.",
        "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "source": {"component": "test"},
    }
    await api.client.create(EVENTS, namespace, body, field_manager="t")
    (event,), _ = await api.client.list(EVENTS, namespace)
    assert event["reason"] == "Scaled"


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
        pytest.param(
            Resource("contract.arqube.dev/v1", "widgets", "Widget"), widget(), True, id="a custom object: yes"
        ),
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
        pytest.param(
            Resource("contract.arqube.dev/v1", "widgets", "Widget"), widget(), {"size": 4}, id="a custom object's"
        ),
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
        pytest.param(Resource("contract.arqube.dev/v1", "widgets", "Widget"), widget(), id="of a custom object"),
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


# Deletion


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


async def test_a_list_comes_in_pages_of_the_state_at_its_first(
    api: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arqube_operator.kube.client.PAGE_SIZE", 2)
    for name in ("a", "b", "c", "d", "e"):
        await api.client.create(CONFIG_MAPS, namespace, config_map(name), field_manager="test")
    pages = []
    async for items, version in api.client.pages(CONFIG_MAPS, namespace):
        pages.append(([item["metadata"]["name"] for item in items if len(item["metadata"]["name"]) == 1], version))
        await api.client.apply(CONFIG_MAPS, namespace, "a", config_map("a", changed="yes"), field_manager="test")

    assert [name for names, _ in pages for name in names] == ["a", "b", "c", "d", "e"]
    assert len({version for _, version in pages}) == 1
    assert len(pages) == 3, "two, two, and what is left"
