"""The HTTP side: content types, methods, bookmarks and rows, as far as kopf and kubectl lean on them."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from arqube_operator.kube.client import Resource

Eventually = Callable[..., Awaitable[Any]]

DEADLINE_S = 20.0
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest_asyncio.fixture
async def http(api: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the server's URL, with its credentials."""
    config = json.loads(api.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    session = aiohttp.ClientSession(
        cluster["server"],
        headers={"Authorization": f"Bearer {user['token']}"},
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(DEADLINE_S),
    )
    async with session:
        yield session


@pytest.fixture
def widgets_of(namespace: str) -> str:
    return f"/apis/contract.arqube.dev/v1/namespaces/{namespace}/widgets"


def widget(name: str = "w") -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": name}}
    return {**body, "spec": {"colour": "red"}}


@pytest.mark.parametrize(
    ("method", "kind", "body", "status"),
    [
        pytest.param("PATCH", "application/strategic-merge-patch+json", "{}", 415, id="a strategic patch of a CR"),
        pytest.param("PATCH", "text/plain", "{}", 415, id="a patch in plain text"),
        pytest.param("PATCH", "application/merge-patch+json", "{", 400, id="a patch that is no JSON"),
        pytest.param("PATCH", "application/apply-patch+yaml", "a: [", 400, id="an apply that is no YAML"),
        pytest.param("PUT", "text/plain", "{}", 415, id="a replacement in plain text"),
        pytest.param("PUT", "application/json", "[]", 400, id="a replacement that is no object"),
    ],
)
async def test_a_request_of_a_wrong_form(
    http: aiohttp.ClientSession, widgets_of: str, method: str, kind: str, body: str, status: int
) -> None:
    assert (await http.post(widgets_of, json=widget())).status == 201
    place = f"{widgets_of}/w?fieldManager=t"
    async with http.request(method, place, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == status
        told = await answer.json()
        assert (told["kind"], told["status"], told["code"]) == ("Status", "Failure", status)


async def test_an_apply_says_by_whom(http: aiohttp.ClientSession, widgets_of: str) -> None:
    kind = {"Content-Type": "application/apply-patch+yaml"}
    async with http.patch(f"{widgets_of}/w", data=json.dumps(widget()), headers=kind) as answer:
        assert answer.status == 422
        assert "fieldManager: Required value" in (await answer.json())["message"]


async def test_answers_are_json_without_more(http: aiohttp.ClientSession, widgets_of: str) -> None:
    async with http.get(widgets_of) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        found = await answer.json()
    assert (found["kind"], found["apiVersion"], found["items"]) == ("WidgetList", "contract.arqube.dev/v1", [])


async def test_a_scale_that_was_never_set_cannot_be_read(http: aiohttp.ClientSession, widgets_of: str) -> None:
    await http.post(widgets_of, json=widget())
    async with http.get(f"{widgets_of}/w/scale") as answer:
        assert answer.status == 500
        assert 'the spec replicas field ".spec.replicas" does not exist' in (await answer.json())["message"]
    patch = {"Content-Type": "application/merge-patch+json"}
    async with http.patch(f"{widgets_of}/w/scale", data='{"spec": {"replicas": 2}}', headers=patch) as answer:
        assert answer.status == 200
    async with http.get(f"{widgets_of}/w/scale") as answer:
        assert (await answer.json())["spec"] == {"replicas": 2}


async def test_a_table_repeats_metadata_and_counts_time_from_creation(
    http: aiohttp.ClientSession, widgets_of: str
) -> None:
    await http.post(widgets_of, json=widget())
    async with http.get(widgets_of, headers={"Accept": TABLE}) as answer:
        table = await answer.json()
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Ready", "Colour", "Age"]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 1, 0]
    (row,) = table["rows"]
    assert row["cells"][:4] == ["w", 3, None, "red"]
    assert row["cells"][4].endswith("s")
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "w")


async def test_discovery_in_one_document_names_the_kinds_and_their_subresources(http: aiohttp.ClientSession) -> None:
    async with http.get("/apis", headers={"Accept": DISCOVERY}) as answer:
        groups = {item["metadata"]["name"]: item for item in (await answer.json())["items"]}
    (version,) = groups["contract.arqube.dev"]["versions"]
    (resource,) = version["resources"]
    assert (resource["resource"], resource["scope"], resource["shortNames"]) == ("widgets", "Namespaced", ["wd"])
    subresources = {each["subresource"]: each["responseKind"]["kind"] for each in resource["subresources"]}
    assert subresources == {"status": "Widget", "scale": "Scale"}
    async with http.get("/apis/contract.arqube.dev/v1") as answer:
        named = {each["name"]: each for each in (await answer.json())["resources"]}
    assert named.keys() == {"widgets", "widgets/status", "widgets/scale"}
    assert named["widgets/scale"]["group"] == "autoscaling"
    assert {"create", "delete", "get", "list", "patch", "update", "watch"} <= set(named["widgets"]["verbs"])


async def test_a_watch_ends_when_its_time_is_over(http: aiohttp.ClientSession, widgets_of: str) -> None:
    async with http.get(widgets_of) as answer:
        version = (await answer.json())["metadata"]["resourceVersion"]
    query = {"watch": "1", "timeoutSeconds": "1", "resourceVersion": version}
    async with http.get(widgets_of, params=query) as answer:
        assert await asyncio.wait_for(answer.read(), 10) == b""


async def test_a_kind_can_be_taken_away_with_its_objects(
    api: Any, namespace: str, eventually: Eventually, http: aiohttp.ClientSession
) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{namespace}.example"},
        "spec": {
            "group": f"{namespace}.example",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    definitions = Resource(
        "apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
    )
    gadgets = f"/apis/{namespace}.example/v1/namespaces/{namespace}/gadgets"
    created = await api.client.create(definitions, None, definition, field_manager="t")
    assert created["spec"]["names"]["listKind"] == "GadgetList"

    async def status() -> int:
        async with http.get(gadgets) as answer:
            return answer.status

    async def is_served() -> bool:
        return await status() == 200

    await eventually(is_served, within_s=DEADLINE_S)
    live = await api.client.get(definitions, None, created["metadata"]["name"])
    conditions = {each["type"]: each["status"] for each in live["status"]["conditions"]}
    assert conditions["Established"] == "True"
    gadget = {"apiVersion": f"{namespace}.example/v1", "kind": "Gadget", "metadata": {"name": "g"}}
    assert (await http.post(gadgets, json=gadget)).status == 201
    await api.client.delete(definitions, None, created["metadata"]["name"])

    async def is_gone() -> bool:
        return await status() == 404

    await eventually(is_gone, within_s=DEADLINE_S)
    await api.client.create(definitions, None, definition, field_manager="t")
    await eventually(is_served, within_s=DEADLINE_S)
    async with http.get(gadgets) as answer:
        assert (await answer.json())["items"] == []
