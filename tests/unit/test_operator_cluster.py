"""The cache of what Kubernetes holds: events in any order, answers to our own writes, and lists that heal gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES, KubeClient, Resource
from arqube_operator.observe.cluster import ClusterCache, Key

KEY = Key("shop", "emails")
LABELS = {"arqube.dev/taskqueue": "emails", "app.kubernetes.io/managed-by": "arqube-operator"}


class Woken:
    """Notes who was woken, and for what."""

    def __init__(self) -> None:
        self.calls: list[tuple[Key, bool]] = []

    def __call__(self, key: Key, *, spec_changed: bool = False) -> None:
        self.calls.append((key, spec_changed))


class Lister:
    """Answers lists as the API server would, from the objects it is given."""

    def __init__(self, version: int, **objects: list[dict[str, Any]]) -> None:
        self._version = version
        self._objects = objects

    async def pages(
        self, resource: Resource, namespace: str | None, *, label_selector: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        for body in self._objects.get(resource.plural, []):
            yield [body], str(self._version)
        yield [], str(self._version)


def task_queue(version: int, generation: int = 1, uid: str = "a") -> dict[str, Any]:
    metadata = {
        "name": "emails",
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"kind": "TaskQueue", "metadata": metadata}


def deployment(version: int, replicas: int = 1, generation: int = 1) -> dict[str, Any]:
    metadata = {
        "name": "emails-worker",
        "namespace": "shop",
        "labels": LABELS,
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def pod(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"emails-worker-{name}",
            "namespace": "shop",
            "labels": labels or LABELS,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
    }


def names(cache: ClusterCache) -> set[str]:
    return {each.name.removeprefix("emails-worker-") for each in cache.pods(KEY)}


def replicas(cache: ClusterCache) -> int | None:
    live = cache.deployment(KEY)
    return live.spec_replicas if live else None


def test_a_task_queue_comes_and_goes() -> None:
    woken = Woken()
    cache = ClusterCache(woken)

    cache.put_task_queue(task_queue(1))
    assert cache.task_queue(KEY) is not None
    cache.put_task_queue(task_queue(2), gone=True)

    assert cache.task_queue(KEY) is None
    assert len(woken.calls) == 2


def test_only_a_change_of_the_spec_says_so() -> None:
    woken = Woken()
    cache = ClusterCache(woken)

    cache.put_task_queue(task_queue(1, generation=1))
    cache.put_task_queue(task_queue(2, generation=1))
    cache.put_task_queue(task_queue(3, generation=2))

    assert [changed for _, changed in woken.calls] == [True, False, True]


def test_an_event_older_than_what_is_known_is_left() -> None:
    cache = ClusterCache(Woken())
    cache.put_deployment(deployment(5, replicas=3))

    cache.put_deployment(deployment(4, replicas=1))
    cache.put_deployment(deployment(4), gone=True)

    assert replicas(cache) == 3


def test_the_answer_to_a_scale_counts_at_once_and_raises_the_generation() -> None:
    cache = ClusterCache(Woken())
    cache.put_deployment(deployment(5, replicas=0, generation=7))

    cache.put_scale(KEY, {"metadata": {"resourceVersion": "6"}, "spec": {"replicas": 4}})
    cache.put_deployment(deployment(5, replicas=0, generation=7))

    live = cache.deployment(KEY)
    assert live is not None
    assert (live.spec_replicas, live.generation) == (4, 8)


def test_a_scale_to_zero_has_no_number_in_its_answer() -> None:
    cache = ClusterCache(Woken())
    cache.put_deployment(deployment(5, replicas=2))

    cache.put_scale(KEY, {"metadata": {"resourceVersion": "6"}, "spec": {}})

    assert replicas(cache) == 0


def test_pods_are_kept_by_their_task_queue_and_those_of_others_left() -> None:
    cache = ClusterCache(Woken())
    cache.put_pod(pod("a", 1))
    cache.put_pod(pod("b", 2))
    cache.put_pod(pod("foreign", 3, app="web"))
    cache.put_pod(pod("a", 4), gone=True)

    assert names(cache) == {"b"}


def test_the_workers_of_a_task_queue_that_is_not_ours_are_known_and_wake_nobody() -> None:
    woken = Woken()
    cache = ClusterCache(woken)
    cache.put_deployment(deployment(1, replicas=3))
    cache.put_pod(pod("a", 2))
    assert woken.calls == []

    cache.put_task_queue(task_queue(3))

    assert (woken.calls, replicas(cache), names(cache)) == ([(KEY, True)], 3, {"a"})


def test_the_answer_to_a_late_write_does_not_bring_a_task_queue_back() -> None:
    cache = ClusterCache(Woken())
    cache.put_task_queue(task_queue(1))
    cache.put_task_queue(task_queue(2), gone=True)

    cache.put_task_queue(task_queue(3), written=True)

    assert cache.task_queue(KEY) is None


def test_a_task_queue_that_was_found_gone_is_forgotten_unless_it_was_made_anew_meanwhile() -> None:
    woken = Woken()
    cache = ClusterCache(woken)
    cache.put_task_queue(task_queue(1, uid="a"))
    cache.put_task_queue(task_queue(3, uid="b"))
    cache.forget_task_queue(KEY, "a")

    known = cache.task_queue(KEY)
    assert known is not None
    assert known.identity.uid == "b"

    cache.forget_task_queue(KEY, "b")
    assert cache.task_queue(KEY) is None
    assert [key for key, _ in woken.calls] == [KEY, KEY, KEY]


async def test_a_list_forgets_what_went_unseen_and_wakes_its_task_queue() -> None:
    woken = Woken()
    cache = ClusterCache(woken)
    cache.put_task_queue(task_queue(1))
    cache.put_deployment(deployment(2))
    cache.put_pod(pod("kept", 3))
    cache.put_pod(pod("gone", 4))
    woken.calls.clear()

    listed = Lister(9, taskqueues=[task_queue(1)], pods=[pod("kept", 3)])
    await cache.resync(cast("KubeClient", listed), (None,))

    assert cache.task_queue(KEY) is not None
    assert cache.deployment(KEY) is None
    assert names(cache) == {"kept"}
    assert KEY in {key for key, _ in woken.calls}


async def test_a_list_leaves_what_came_while_it_was_made() -> None:
    cache = ClusterCache(Woken())
    cache.put_pod(pod("newer", 12))

    await cache.resync(cast("KubeClient", Lister(9)), (None,))

    assert names(cache) == {"newer"}


async def test_every_watched_namespace_is_listed() -> None:
    asked: list[tuple[str, str | None, str]] = []

    class Recorder(Lister):
        async def pages(
            self, resource: Resource, namespace: str | None, *, label_selector: str = ""
        ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
            asked.append((resource.plural, namespace, label_selector))
            async for page in super().pages(resource, namespace):
                yield page

    await ClusterCache(Woken()).resync(cast("KubeClient", Recorder(1)), ("shop", "mail"), "shard=a")

    ours = "app.kubernetes.io/managed-by=arqube-operator"
    assert asked == [
        (resource.plural, namespace, selector)
        for resource, selector in ((TASK_QUEUES, "shard=a"), (DEPLOYMENTS, ours), (PODS, ours))
        for namespace in ("shop", "mail")
    ]
