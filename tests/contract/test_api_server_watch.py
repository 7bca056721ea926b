"""Watches: what changes after a version, in order, once each, until it is too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from arqube_operator.kube.client import ApiError, Resource

CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
DEADLINE_S = 20.0


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


async def create(api: Any, namespace: str, name: str, **labels: str) -> dict[str, Any]:
    created: dict[str, Any] = await api.client.create(
        CONFIG_MAPS, namespace, config_map(name, **labels), field_manager="t"
    )
    return created


async def label(api: Any, namespace: str, name: str, **labels: str | None) -> dict[str, Any]:
    changed: dict[str, Any] = await api.client.patch_metadata(
        CONFIG_MAPS, namespace, name, {"labels": labels}, field_manager="t"
    )
    return changed


async def first(number: int, events: AsyncIterator[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    seen: list[tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(events) as stream:  # type: ignore[type-var]
        async for event in stream:
            seen.append(event)
            if len(seen) == number:
                break
    return seen


def names(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    return [(kind, body["metadata"]["name"]) for kind, body in events]


async def test_a_watch_goes_on_from_a_list(api: Any, namespace: str) -> None:
    await create(api, namespace, "before")
    _, version = await api.client.list(CONFIG_MAPS, namespace)
    watch = api.client.watch(CONFIG_MAPS, namespace, resource_version=version)
    created = await create(api, namespace, "a")
    changed = await label(api, namespace, "a", x="1")
    await api.client.delete(CONFIG_MAPS, namespace, "a")
    events = await first(3, watch)
    assert names(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert [body for _, body in events[:2]] == [created, changed]
    versions = [int(body["metadata"]["resourceVersion"]) for _, body in events]
    assert versions == sorted(set(versions)), "a removal has a version of its own"


async def test_an_open_watch_hears_what_happens(api: Any, namespace: str) -> None:
    _, version = await api.client.list(CONFIG_MAPS, namespace)
    hearing = asyncio.create_task(first(1, api.client.watch(CONFIG_MAPS, namespace, resource_version=version)))
    await asyncio.wait({hearing}, timeout=0.3)
    assert not hearing.done()
    await create(api, namespace, "a")
    assert names(await hearing) == [("ADDED", "a")]


async def test_a_watch_resumes_after_the_version_that_was_seen_last(api: Any, namespace: str) -> None:
    seen = await create(api, namespace, "a")
    await create(api, namespace, "b")
    await create(api, namespace, "c")
    version = seen["metadata"]["resourceVersion"]
    events = await first(2, api.client.watch(CONFIG_MAPS, namespace, resource_version=version))
    assert names(events) == [("ADDED", "b"), ("ADDED", "c")]


async def test_a_watch_without_a_version_begins_with_what_there_is(api: Any, namespace: str) -> None:
    await create(api, namespace, "a")
    await create(api, namespace, "b")
    events = await first(2, api.client.watch(CONFIG_MAPS, namespace))
    assert sorted(names(events)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_what_comes_to_match_is_added_and_what_ceases_to_is_deleted(api: Any, namespace: str) -> None:
    _, version = await api.client.list(CONFIG_MAPS, namespace)
    await create(api, namespace, "other")
    await create(api, namespace, "a")
    await label(api, namespace, "a", x="1")
    await label(api, namespace, "a", y="1")
    await label(api, namespace, "a", x=None)
    await create(api, namespace, "b", x="1")
    watch = api.client.watch(CONFIG_MAPS, namespace, label_selector="x=1", resource_version=version)
    assert names(await first(4, watch)) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]


async def test_a_watch_of_all_namespaces_tells_of_this_one(api: Any, namespace: str) -> None:
    _, version = await api.client.list(CONFIG_MAPS, None)
    await create(api, namespace, "a", of=namespace)
    watch = api.client.watch(CONFIG_MAPS, None, label_selector=f"of={namespace}", resource_version=version)
    assert names(await first(1, watch)) == [("ADDED", "a")]


async def test_a_version_of_long_ago_is_gone(api: Any, namespace: str, widgets: Resource) -> None:
    with pytest.raises(ApiError) as caught:
        await first(1, api.client.watch(widgets, namespace, resource_version="1"))
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


async def test_a_watch_of_nothing_is_404(api: Any, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await first(1, api.client.watch(Resource("nowhere.example/v1", "things", "Thing"), namespace))
    assert caught.value.status == 404
