"""What Kubernetes holds of our TaskQueues and their workers: a cache fed by watch events and made whole by lists.

Events can be missed (a watch that reconnects does not tell what went meanwhile), so ``resync`` lists everything again
from time to time and forgets what is gone. Only the facts a decision needs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

from arqube_operator.decide.manifest import MANAGED_BY, MANAGED_BY_LABEL, TASK_QUEUE_LABEL, deployment_name
from arqube_operator.decide.state import Deployment, Pod
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES, KubeClient, Resource
from arqube_operator.observe.objects import (
    KnownTaskQueue,
    WorkerEnd,
    read_deployment,
    read_pod,
    read_task_queue,
    worker_end,
)

WORKER_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""Labels of the Deployments and pods that are ours."""

Versions = dict[tuple[Resource, str | None], str]
"""The resourceVersion of what was listed, by kind and namespace."""


class Key(NamedTuple):
    """A TaskQueue's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Wake(Protocol):
    """Who is told of changes."""

    def __call__(self, key: Key, *, spec_changed: bool = False) -> None:
        """A TaskQueue or something of its changed; ``spec_changed`` when a person changed what it wants."""


class ClusterCache:
    """The newest known state of all TaskQueues, their Deployments and pods; ``wake`` is told which one changed.

    ``ended`` is told of each worker pod that an event says is gone, and how it ended.

    Answers to our own writes are taken in too. An event that tells an older state than is known is left: resource
    versions are numbers that grow.
    """

    def __init__(self, wake: Wake, ended: Callable[[Key, WorkerEnd], None] = lambda _key, _end: None) -> None:
        self._wake = wake
        self._ended = ended
        self._task_queues: dict[Key, KnownTaskQueue] = {}
        self._deployments: dict[Key, Deployment] = {}
        self._pods: dict[Key, dict[str, Pod]] = {}
        self._versions: dict[tuple[str, Key, str], int] = {}

    def __len__(self) -> int:
        """How many TaskQueues there are."""
        return len(self._task_queues)

    def keys(self) -> tuple[Key, ...]:
        """The TaskQueues there are, in no order."""
        return tuple(self._task_queues)

    def task_queue(self, key: Key) -> KnownTaskQueue | None:
        """The TaskQueue; None when it is gone."""
        return self._task_queues.get(key)

    def deployment(self, key: Key) -> Deployment | None:
        """The workers' Deployment; None when there is none."""
        return self._deployments.get(key)

    def pods(self, key: Key) -> tuple[Pod, ...]:
        """The workers' pods."""
        return tuple(self._pods.get(key, {}).values())

    def put_task_queue(self, body: Mapping[str, Any], *, gone: bool = False, written: bool = False) -> None:
        """Take in a TaskQueue, from an event or, if ``written``, from the answer to a write.

        Such an answer wakes nobody unless it tells a new spec too: the pass that wrote knows the rest.
        """
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        # The answer to a write may come after the event that tells that the TaskQueue is gone or no longer ours.
        if (written and key not in self._task_queues) or not self._is_news(("taskqueue", key, ""), metadata, gone):
            return
        known = self._task_queues.pop(key, None)
        if not gone:
            self._task_queues[key] = read_task_queue(body, known)
        same = known is not None and known.identity.generation == metadata.get("generation", 0)
        if gone or not (same and written):
            self._wake(key, spec_changed=not same)

    def forget_task_queue(self, key: Key, uid: str) -> None:
        """Take note that the TaskQueue with that uid is gone, which no event has told: one of its name may be there."""
        known = self._task_queues.get(key)
        if known is not None and known.identity.uid == uid:
            del self._task_queues[key]
            self._versions.pop(("taskqueue", key, ""), None)
            self._wake(key)

    def put_deployment(self, body: Mapping[str, Any], *, gone: bool = False) -> None:
        """Take in a Deployment of ours, from an event or from the answer to a write."""
        key = _owner(body)
        if key is not None and body["metadata"]["name"] != deployment_name(key.name):
            return  # A copy of ours, with its labels: it is somebody's own.
        if key is None or not self._is_news(("deployment", key, ""), body["metadata"], gone):
            return
        known = self._deployments.pop(key, None)
        if not gone:
            self._deployments[key] = read_deployment(body)
        if self._deployments.get(key) != known:
            self._wake_owner(key)

    def put_scale(self, key: Key, scale: Mapping[str, Any]) -> None:
        """Take in the answer to a write of ``/scale``, which comes before the event that tells the same."""
        live, replicas = self._deployments.get(key), scale["spec"].get("replicas", 0)
        if live is None or not self._is_news(("deployment", key, ""), scale["metadata"], False):
            return
        generation = live.generation + (live.spec_replicas != replicas)
        self._deployments[key] = replace(live, spec_replicas=replicas, generation=generation)

    def put_pod(self, body: Mapping[str, Any], *, gone: bool = False) -> None:
        """Take in a pod of ours."""
        key, name = _owner(body), body["metadata"]["name"]
        if key is not None and not name.startswith(f"{deployment_name(key.name)}-"):
            return  # A stranger with the labels of ours.
        if key is None or not self._is_news(("pod", key, name), body["metadata"], gone):
            return
        pods = self._pods.setdefault(key, {})
        known = pods.pop(name, None)
        if not gone:
            pods[name] = read_pod(body)
        elif known is not None and (end := worker_end(body)) is not None:
            self._ended(key, end)
        changed = pods.get(name) != known
        if not pods:
            del self._pods[key]
        if changed:
            self._wake_owner(key)

    async def resync(
        self, client: KubeClient, namespaces: tuple[str | None, ...], task_queue_selector: str = ""
    ) -> Versions:
        """List everything in ``namespaces`` (None is all of them) and forget what is gone; where to watch from.

        Of the TaskQueues those are ours that ``task_queue_selector`` selects. The Deployments and pods of all are kept,
        as they do not carry their TaskQueue's labels: so they are known already when a TaskQueue becomes ours.

        Raises:
            ApiError: A list failed; what was known stays.
        """
        kinds = ((TASK_QUEUES, task_queue_selector), (DEPLOYMENTS, WORKER_SELECTOR), (PODS, WORKER_SELECTOR))
        return {
            (resource, namespace): await self.relist(client, resource, namespace, selector)
            for resource, selector in kinds
            for namespace in namespaces
        }

    async def relist(self, client: KubeClient, resource: Resource, namespace: str | None, label_selector: str) -> str:
        """List one of the three kinds in ``namespace``, or in all, and forget what is gone; where to watch from.

        Raises:
            ApiError: The list failed; what was known stays.
        """
        put = {TASK_QUEUES: self.put_task_queue, DEPLOYMENTS: self.put_deployment, PODS: self.put_pod}[resource]
        present: set[tuple[str, str]] = set()
        version = ""
        async for page, version in client.pages(resource, namespace, label_selector=label_selector):  # noqa: B007
            for body in page:
                put(body)
                present.add((body["metadata"]["namespace"], body["metadata"]["name"]))
        self._forget_gone(resource, namespace, present, int(version))
        return version

    def _forget_gone(
        self, resource: Resource, namespace: str | None, present: set[tuple[str, str]], version: int
    ) -> None:
        """What is known of a kind, is not ``present`` in a list and was known before that was made, is gone."""
        for (kind, key, pod), known in list(self._versions.items()):
            name = {"taskqueue": key.name, "deployment": deployment_name(key.name), "pod": pod}[kind]
            if kind != resource.kind.lower() or namespace not in (None, key.namespace):
                continue
            if known > version or (key.namespace, name) in present:
                continue
            del self._versions[kind, key, pod]
            if resource is TASK_QUEUES:
                self._task_queues.pop(key, None)
                self._wake(key)
            elif resource is DEPLOYMENTS:
                self._deployments.pop(key, None)
            else:
                self._pods.get(key, {}).pop(pod, None)
            self._wake_owner(key)

    def _wake_owner(self, key: Key) -> None:
        """Tell that something of a TaskQueue changed, if that is ours."""
        if key in self._task_queues:
            self._wake(key)

    def _is_news(self, which: tuple[str, Key, str], metadata: Mapping[str, Any], gone: bool) -> bool:
        version, known = int(metadata.get("resourceVersion", 0)), self._versions.get(which, 0)
        # A Deployment's version may be known from its Scale, which does not tell all.
        if version < known or (version == known and not gone and which[0] == "taskqueue"):
            return False
        if gone:
            self._versions.pop(which, None)
        else:
            self._versions[which] = version
        return True


def _owner(body: Mapping[str, Any]) -> Key | None:
    metadata = body["metadata"]
    name = metadata.get("labels", {}).get(TASK_QUEUE_LABEL)
    return Key(metadata["namespace"], name) if name else None
