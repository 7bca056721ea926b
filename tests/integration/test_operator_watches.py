"""The operator's watches while the API server is in trouble: what they miss is found, and nobody is flooded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from arqube_local.apiserver import WATCH, FakeApiServer, Trouble
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import DEPLOYMENTS, PODS, KubeClient, Resource
from arqube_operator.observe.cluster import ClusterCache, Key
from arqube_operator.observe.workers import follow_workers

Eventually = Callable[..., Awaitable[Any]]

CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
KEY = Key("default", "emails")
LABELS = {"arqube.dev/taskqueue": "emails", "app.kubernetes.io/managed-by": "arqube-operator"}
CONTAINER = {"name": "worker", "image": "app:1"}


class Counting:
    """A client that counts the watches and lists it is asked for."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.asked = 0

    def watch(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return self._client.watch(*arguments, **options)

    def pages(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return self._client.pages(*arguments, **options)


class Followed:
    """A fake API server, and a cache that follows what it holds."""

    def __init__(self, fake: FakeApiServer, client: KubeClient) -> None:
        self.fake = fake
        self.client = client
        self.counting = Counting(client)
        self.cache = ClusterCache(lambda _key, spec_changed=False: None)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        versions = await self.cache.resync(self.client, (None,))
        self._task = asyncio.create_task(follow_workers(self.counting, self.cache, versions))  # type: ignore[arg-type]

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, name: str) -> None:
        """One more pod, and the Deployment if there is none."""
        if await self.client.get(DEPLOYMENTS, "default", "emails-worker") is None:
            body = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "emails-worker", "labels": LABELS},
                "spec": {
                    "selector": {"matchLabels": LABELS},
                    "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}},
                },
            }
            await self.client.create(DEPLOYMENTS, "default", body, field_manager="test")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"emails-worker-{name}", "labels": LABELS},
            "spec": {"containers": [CONTAINER]},
        }
        await self.client.create(PODS, "default", pod, field_manager="test")

    def pods(self) -> set[str]:
        return {pod.name.removeprefix("emails-worker-") for pod in self.cache.pods(KEY)}


@pytest_asyncio.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    fake = FakeApiServer()
    await fake.start()
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(fake.kubeconfig()))
    client = await KubeClient.from_config(str(path))
    definition = custom_resource_definition()
    await client.apply(CRDS, None, definition["metadata"]["name"], definition, field_manager="test")
    following = Followed(fake, client)
    yield following
    await following.stop()
    await client.close()
    await fake.stop()


async def test_what_went_while_the_history_was_lost_is_forgotten(followed: Followed, eventually: Eventually) -> None:
    await followed.create("a")
    await followed.create("b")
    await followed.start()
    assert followed.pods() == {"a", "b"}
    await followed.create("c")
    await eventually(lambda: "c" in followed.pods())

    followed.fake.faults.silence_watches()
    await followed.client.delete(DEPLOYMENTS, "default", "emails-worker")
    await followed.client.delete(PODS, "default", "emails-worker-a", grace_period_s=0)
    await followed.create("d")
    await followed.client.delete(DEPLOYMENTS, "default", "emails-worker")
    followed.fake.compact()
    followed.fake.faults.let_watches_speak()

    await eventually(lambda: followed.pods() == {"b", "c", "d"})
    await eventually(lambda: followed.cache.deployment(KEY) is None)


async def test_a_watch_that_has_died_without_a_word_is_made_anew(
    followed: Followed, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arqube_operator.kube.client.WATCH_SILENCE_S", 0.5)
    await followed.start()
    await eventually(lambda: followed.counting.asked == 2)
    followed.fake.faults.silence_watches()
    await eventually(lambda: followed.counting.asked >= 4)


@pytest.mark.parametrize("status", [410, 503])
async def test_a_server_that_refuses_each_watch_is_not_flooded(
    followed: Followed, eventually: Eventually, status: int
) -> None:
    refused = Trouble(frozenset({WATCH}), status=status)
    followed.fake.faults.begin(refused)
    await followed.start()
    await eventually(lambda: followed.counting.asked >= 2)
    await asyncio.sleep(0.5)
    assert followed.counting.asked <= 6, "two watches, and perhaps a list of each"
    followed.fake.faults.end(refused)
    await followed.create("a")
    await eventually(lambda: followed.pods() == {"a"})


async def test_a_server_that_ends_each_watch_at_once_is_not_flooded(
    followed: Followed, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arqube_operator.kube.client.WATCH_TIMEOUT_S", 0)
    await followed.start()
    await eventually(lambda: followed.counting.asked >= 2)
    await asyncio.sleep(0.5)
    assert followed.counting.asked <= 4
