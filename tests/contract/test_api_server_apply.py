"""Server-side apply: who owns which field, what is dropped with its owner, and that ``/scale`` keeps its replicas."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from arqube_operator.kube.client import DEPLOYMENTS, ApiError, Resource

MEMORY = {"resources": {"limits": {"memory": "1Gi"}}}


def deployment(image: str = "registry.example/app:1", **spec: Any) -> dict[str, Any]:
    container = {"name": "worker", "image": image, "env": [{"name": "A", "value": "1"}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
    selector = {"matchLabels": {"app": "a"}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    return {**body, "spec": {"selector": selector, "template": template, **spec}}


def with_container(**fields: Any) -> dict[str, Any]:
    """A partial Deployment that states just this of a container."""
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    return {**body, "spec": {"template": {"spec": {"containers": [fields]}}}}


def with_replicas(number: int) -> dict[str, Any]:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    return {**body, "spec": {"replicas": number}}


def widget(**spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": "w"}}
    return {**body, "spec": spec}


def container_of(live: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = live["spec"]["template"]["spec"]["containers"][0]
    return found


async def refused(request: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await request
    return caught.value


class Applier:
    """Applies to one object."""

    def __init__(self, api: Any, namespace: str, resource: Resource, name: str) -> None:
        self.client = api.client
        self.place = (resource, namespace, name)

    async def __call__(self, body: dict[str, Any], by: str = "operator", *, force: bool = True) -> dict[str, Any]:
        live: dict[str, Any] = await self.client.apply(*self.place, body, field_manager=by, force=force)
        return live


@pytest.fixture
def apply(api: Any, namespace: str) -> Applier:
    return Applier(api, namespace, DEPLOYMENTS, "d")


@pytest.fixture
def apply_widget(api: Any, namespace: str, widgets: Resource) -> Applier:
    return Applier(api, namespace, widgets, "w")


async def test_a_deployment_gets_its_defaults_and_nobody_owns_them(apply: Applier) -> None:
    live = await apply(deployment())
    assert live["spec"]["replicas"] == 1
    assert live["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert live["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert container_of(live)["imagePullPolicy"] == "IfNotPresent"
    (entry,) = live["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("operator", "Apply")
    assert entry["fieldsV1"] == {
        "f:spec": {
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"worker"}': {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                        }
                    }
                },
            },
        }
    }


async def test_replicas_set_through_scale_survive_an_apply_without_them(api: Any, apply: Applier) -> None:
    await apply(deployment())
    await api.client.scale(*apply.place, 7, field_manager="scaler")
    live = await apply(deployment("registry.example/app:2"))
    assert live["spec"]["replicas"] == 7
    assert container_of(live)["image"] == "registry.example/app:2"


async def test_scale_takes_replicas_from_who_owned_them(api: Any, apply: Applier) -> None:
    await apply(deployment())
    await apply(with_replicas(2), by="scaler")
    await api.client.scale(*apply.place, 7, field_manager="scaler")
    live = await apply(deployment("registry.example/app:2"))
    (scaler,) = [each for each in live["metadata"]["managedFields"] if each["manager"] == "scaler"]
    assert (scaler["operation"], scaler["subresource"]) == ("Update", "scale")
    assert scaler["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    error = await refused(apply(with_replicas(1), by="other", force=False))
    assert 'conflict with "scaler" with subresource "scale" using apps/v1' in error.message
    assert (await apply(with_replicas(7), by="scaler"))["spec"]["replicas"] == 7


async def test_replicas_set_through_scale_survive_on_a_custom_object(api: Any, apply_widget: Applier) -> None:
    await apply_widget(widget(colour="red"))
    await api.client.scale(*apply_widget.place, 0, field_manager="scaler")
    live = await apply_widget(widget(colour="green"))
    assert (live["spec"]["replicas"], live["spec"]["colour"]) == (0, "green")


async def test_replicas_that_their_manager_drops_fall_back_to_the_default(apply: Applier) -> None:
    await apply(deployment(replicas=5))
    assert (await apply(deployment()))["spec"]["replicas"] == 1


async def test_a_deployment_is_made_with_its_number_and_then_handed_over(apply: Applier) -> None:
    await apply({**deployment(replicas=4), "metadata": {"name": "d", "labels": {"x": "1"}}}, by="scaler")
    await apply({**deployment(), "metadata": {"name": "d", "labels": {"x": "1"}}})
    live = await apply(with_replicas(4), by="scaler")
    assert live["metadata"]["labels"] == {"x": "1"}
    live = await apply(deployment())
    assert live["spec"]["replicas"] == 4
    assert "labels" not in live["metadata"], "what the operator drops is really dropped"


async def test_a_field_of_a_single_owner_goes_when_it_is_dropped(apply: Applier) -> None:
    await apply({**deployment(), "metadata": {"name": "d", "annotations": {"a": "1", "b": "2"}}})
    live = await apply({**deployment(), "metadata": {"name": "d", "annotations": {"b": "2"}}})
    assert live["metadata"]["annotations"] == {"b": "2"}
    assert live["metadata"]["name"] == "d"


async def test_a_field_of_two_owners_stays_until_both_drop_it(apply: Applier) -> None:
    labelled = {**deployment(), "metadata": {"name": "d", "labels": {"x": "1"}}}
    partial = {**with_container(name="worker"), "metadata": {"name": "d", "labels": {"x": "1"}}}
    await apply(labelled)
    await apply(partial, by="other")
    assert (await apply(deployment()))["metadata"]["labels"] == {"x": "1"}
    live = await apply(with_container(name="worker"), by="other")
    assert "labels" not in live["metadata"]


async def test_a_whole_struct_that_is_dropped_goes_with_its_defaults(apply: Applier) -> None:
    probed = deployment()
    probed["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"path": "/", "port": 80}}
    live = await apply(probed)
    assert container_of(live)["livenessProbe"]["periodSeconds"] == 10
    assert "livenessProbe" not in container_of(await apply(deployment()))


async def test_lists_are_merged_by_key(apply: Applier) -> None:
    await apply(deployment())
    env = [{"name": "B", "value": "2"}]
    await apply(with_container(name="worker", env=env, ports=[{"containerPort": 9464}], **MEMORY), by="other")
    live = await apply(with_container(name="sidecar", image="registry.example/sidecar:1"), by="third")
    assert [each["name"] for each in live["spec"]["template"]["spec"]["containers"]] == ["worker", "sidecar"]
    assert [each["name"] for each in container_of(live)["env"]] == ["A", "B"]
    assert container_of(live)["ports"] == [{"containerPort": 9464, "protocol": "TCP"}]
    assert container_of(live)["resources"] == MEMORY["resources"]
    live = await apply(with_container(name="worker", env=env), by="other")
    assert "ports" not in container_of(live)
    assert container_of(live)["resources"] == {}
    live = await apply(with_container(name="worker"), by="third")
    assert [each["name"] for each in live["spec"]["template"]["spec"]["containers"]] == ["worker"]
    bare = deployment()
    del bare["spec"]["template"]["spec"]["containers"][0]["env"]
    live = await apply(bare)
    assert [each["name"] for each in container_of(live)["env"]] == ["B"]


async def test_another_value_is_a_conflict_unless_it_is_forced(apply: Applier) -> None:
    await apply(deployment(replicas=2))
    error = await refused(apply(with_replicas(3), by="other", force=False))
    assert (error.status, error.reason) == (409, "Conflict")
    assert error.message == 'Apply failed with 1 conflict: conflict with "operator": .spec.replicas'
    assert (await apply(with_replicas(2), by="other", force=False))["spec"]["replicas"] == 2, "they agree"
    live = await apply(with_replicas(3), by="other")
    assert live["spec"]["replicas"] == 3
    mine = next(each for each in live["metadata"]["managedFields"] if each["manager"] == "operator")
    assert "f:replicas" not in mine["fieldsV1"]["f:spec"]
    assert (await apply(deployment()))["spec"]["replicas"] == 3


async def test_a_conflict_within_a_list_names_the_item(apply: Applier) -> None:
    await apply(deployment())
    error = await refused(apply(with_container(name="worker", image="other"), by="other", force=False))
    assert '.spec.template.spec.containers[name="worker"].image' in error.message


async def test_an_update_takes_the_fields_that_it_changes(api: Any, apply: Applier) -> None:
    live = await apply(deployment(replicas=2))
    body = {**live, "spec": {**live["spec"], "replicas": 5}}
    live = await api.client.replace(*apply.place, body, field_manager="editor")
    owners = {each["manager"]: each for each in live["metadata"]["managedFields"]}
    assert owners["editor"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["operator"]["fieldsV1"]["f:spec"]
    error = await refused(apply(deployment(replicas=2), force=False))
    assert 'conflict with "editor" using apps/v1: .spec.replicas' in error.message


async def test_custom_objects_follow_their_schema(apply_widget: Applier) -> None:
    own = [{"name": "a", "weight": 1, "made": "here"}]
    await apply_widget(widget(colour="red", parts=own, tags=["x"], sizes=[1], free={"deep": {"a": 1}}))
    live = await apply_widget(
        widget(parts=[{"name": "a", "weight": 2}, {"name": "b"}], tags=["y"], sizes=[2], free={"deep": {"b": 2}}),
        by="other",
    )
    spec = live["spec"]
    assert spec["parts"] == [{"name": "a", "weight": 2, "made": "here"}, {"name": "b"}]
    assert (spec["tags"], spec["sizes"], spec["free"]) == (["x", "y"], [2], {"deep": {"a": 1, "b": 2}})
    spec = (await apply_widget(widget(colour="red")))["spec"]
    assert spec["parts"] == [{"name": "a", "weight": 2}, {"name": "b"}]
    assert (spec["tags"], spec["free"], spec["size"]) == (["y"], {"deep": {"b": 2}}, 3)


async def test_an_apply_leaves_the_status_alone(api: Any, apply_widget: Applier) -> None:
    await apply_widget({**widget(colour="red"), "status": {"replicas": 3}})
    await api.client.patch_status(*apply_widget.place, {"replicas": 1}, field_manager="operator")
    live = await apply_widget({**widget(colour="green"), "status": {"replicas": 3}})
    assert live["status"] == {"replicas": 1}


async def test_an_apply_with_an_old_version_is_a_conflict(apply: Applier) -> None:
    old = await apply(deployment())
    await apply(deployment("registry.example/app:2"))
    version = {"name": "d", "resourceVersion": old["metadata"]["resourceVersion"]}
    error = await refused(apply({**deployment("registry.example/app:3"), "metadata": version}))
    assert (error.status, error.reason) == (409, "Conflict")
