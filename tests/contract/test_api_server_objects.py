"""Objects as an API server keeps them: their metadata, what is refused, and lists of them."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, PODS, SECRETS, Resource
from builders.api_objects import BODIES, CONFIG_MAPS, config_map, deployment, pod, refused


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
