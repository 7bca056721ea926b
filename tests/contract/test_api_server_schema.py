"""Custom objects against their schema: defaults, pruning, and refusals that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.kube.client import ApiError, Resource


def widget(**spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": "w"}}
    return {**body, "spec": {"colour": "red", **spec}}


async def test_defaults_are_filled_in_and_what_is_unknown_is_dropped(
    api: Any, namespace: str, widgets: Resource
) -> None:
    body = widget(unknown=1, parts=[{"name": "a", "unknown": 1}], free={"kept": {"deep": [1]}}, labels={"any": "x"})
    created = await api.client.create(widgets, namespace, {**body, "unknown": 1}, field_manager="t")
    assert created["spec"] == {
        "colour": "red",
        "size": 3,
        "nested": {"depth": 1},
        "parts": [{"name": "a"}],
        "free": {"kept": {"deep": [1]}},
        "labels": {"any": "x"},
    }
    assert "unknown" not in created


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"note": None}, id="null where it is allowed"),
        pytest.param({"size": None}, id="null where there is a default"),
        pytest.param({"limit": 5}, id="a number for int-or-string"),
        pytest.param({"limit": "5%"}, id="a string for int-or-string"),
        pytest.param({"since": "2026-01-31T12:00:00.123456Z"}, id="a time"),
        pytest.param({"code": "abc"}, id="a string that matches"),
        pytest.param({"sizes": [1, 1]}, id="a number twice in a plain list"),
    ],
)
async def test_accepted(api: Any, namespace: str, widgets: Resource, spec: dict[str, Any]) -> None:
    created = await api.client.create(widgets, namespace, widget(**spec), field_manager="t")
    wanted = spec if spec != {"size": None} else {"size": 3}
    assert {name: created["spec"][name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"colour": None}, "spec.colour", id="a required field is null"),
        pytest.param({"colour": "blue"}, 'spec.colour: Unsupported value: "blue": supported values', id="enum"),
        pytest.param(
            {"size": "3"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer', id="type"
        ),
        pytest.param({"size": 0}, "spec.size in body should be greater than or equal to 1", id="minimum"),
        pytest.param({"size": 10}, "spec.size in body should be less than or equal to 9", id="maximum"),
        pytest.param({"code": "ABC"}, "spec.code in body should match '^[a-z]+$'", id="pattern"),
        pytest.param({"code": "a"}, "spec.code in body should be at least 2 chars long", id="minLength"),
        pytest.param({"code": "abcdef"}, "spec.code: Too long: may not be more than 5 bytes", id="maxLength"),
        pytest.param({"sizes": [1, 2, 3]}, "spec.sizes: Too many: 3: must have at most 2 items", id="maxItems"),
        pytest.param({"sizes": ["a"]}, "spec.sizes[0] in body must be of type integer", id="the type of an item"),
        pytest.param({"since": "yesterday"}, "spec.since in body must be of type date-time", id="format"),
        pytest.param({"limit": 1.5}, "spec.limit", id="neither a whole number nor a string"),
        pytest.param({"parts": [{"weight": 1}]}, "spec.parts[0].name: Required value", id="required"),
        pytest.param({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]: Duplicate value", id="a key twice"),
        pytest.param({"tags": ["a", "a"]}, "spec.tags[1]: Duplicate value", id="a value twice in a set"),
        pytest.param({"labels": {"a": 1}}, "spec.labels.a in body must be of type string", id="a value of a free map"),
    ],
)
async def test_refused(api: Any, namespace: str, widgets: Resource, spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ApiError) as caught:
        await api.client.create(widgets, namespace, widget(**spec), field_manager="t")
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")
    assert told in caught.value.message
    assert caught.value.message.startswith('Widget.contract.arqube.dev "w" is invalid: ')


async def test_every_mistake_is_told(api: Any, namespace: str, widgets: Resource) -> None:
    with pytest.raises(ApiError) as caught:
        await api.client.create(widgets, namespace, widget(size=0, colour="blue"), field_manager="t")
    assert "spec.size" in caught.value.message
    assert "spec.colour" in caught.value.message


async def test_changes_are_checked_too(api: Any, namespace: str, widgets: Resource) -> None:
    created = await api.client.create(widgets, namespace, widget(), field_manager="t")
    for request in (
        api.client.replace(widgets, namespace, "w", {**created, "spec": {"colour": "blue"}}, field_manager="t"),
        api.client.apply(widgets, namespace, "w", widget(size=0), field_manager="t"),
        api.client.patch_status(widgets, namespace, "w", {"replicas": "many"}, field_manager="t"),
        api.client.patch_status(widgets, namespace, "w", {"conditions": [{"type": "Ready"}]}, field_manager="t"),
    ):
        with pytest.raises(ApiError) as caught:
            await request
        assert caught.value.status == 422
    assert await api.client.get(widgets, namespace, "w") == created
