"""kopf, as the operator embeds it: event handlers in a thread of its own, and nothing written on objects."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
import pytest

from arqube_operator.kube.client import PODS, Resource

Eventually = Callable[..., Awaitable[Any]]
Seen = list[tuple[str | None, str, str]]


@pytest.fixture
def seen(api: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What kopf's handlers were told of the namespace: event, kind and name."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    registry = kopf.OperatorRegistry()
    told: Seen = []

    def hear(event: Any, **_: Any) -> None:
        body = event["object"]
        told.append((event["type"], body["kind"], body["metadata"]["name"]))

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.event("contract.arqube.dev", "v1", "widgets", registry=registry)(hear)
    kopf.on.event("v1", "pods", labels={"app": "a"}, registry=registry)(hear)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    stop, ready = threading.Event(), threading.Event()

    def run() -> None:
        running = kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            namespaces=[namespace],
            stop_flag=stop,
            ready_flag=ready,
        )
        asyncio.run(running)

    # What kopf says of signals outside the main thread is of no interest here.
    thread = threading.Thread(target=run, name="kopf")
    thread.start()
    assert ready.wait(30)
    yield told
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    with warnings.catch_warnings():  # kopf's loop ends before TLS has taken leave of the server.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def widget(name: str) -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": name}}
    return {**body, "spec": {"colour": "red"}}


def pod(name: str, **labels: str) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
    return {**body, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}


async def test_kopf_hears_of_every_change_and_writes_nothing(
    api: Any, namespace: str, widgets: Resource, seen: Seen, eventually: Eventually
) -> None:
    client = api.client
    await client.create(widgets, namespace, widget("first"), field_manager="t")
    await eventually(lambda: any(name == "first" for _, _, name in seen), within_s=30)
    seen.clear()
    await client.create(PODS, namespace, pod("other"), field_manager="t")
    await client.create(PODS, namespace, pod("ours", app="a"), field_manager="t")
    await client.create(widgets, namespace, widget("w"), field_manager="t")
    await eventually(lambda: len(seen) == 2, within_s=30)
    assert sorted(seen, key=str) == [("ADDED", "Pod", "ours"), ("ADDED", "Widget", "w")]
    seen.clear()
    status = await client.patch_status(widgets, namespace, "w", {"replicas": 1}, field_manager="t")
    await eventually(lambda: seen == [("MODIFIED", "Widget", "w")], within_s=30)
    live = await client.get(widgets, namespace, "w")
    assert live == status, "kopf wrote on it"
    await client.delete(widgets, namespace, "w")
    await eventually(lambda: seen[-1] == ("DELETED", "Widget", "w"), within_s=30)
