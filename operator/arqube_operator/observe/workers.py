"""Watches of the workers' Deployments and pods, feeding the cache.

By our own client: there are many of them, and kopf would keep more of each than the few facts a decision needs.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from arqube_operator.kube.client import DEPLOYMENTS, PODS, ApiError, KubeClient, Resource
from arqube_operator.observe.cluster import WORKER_SELECTOR, ClusterCache, Versions

RETRY_S: Final = 2.0
GONE: Final = 410
"""The API server no longer knows what changed since a resourceVersion."""

log = structlog.get_logger(__name__)


async def follow_workers(client: KubeClient, cache: ClusterCache, versions: Versions) -> None:
    """Feed ``cache`` with all that changes after ``versions``, until cancelled.

    What goes while a watch is down is not told; the cache's lists heal that.
    """
    async with asyncio.TaskGroup() as group:
        for (resource, namespace), version in versions.items():
            if resource in (DEPLOYMENTS, PODS):
                group.create_task(_follow(client, cache, resource, namespace, version))


async def _follow(
    client: KubeClient, cache: ClusterCache, resource: Resource, namespace: str | None, version: str
) -> None:
    put: Any = cache.put_deployment if resource is DEPLOYMENTS else cache.put_pod
    while True:
        try:
            watch = client.watch(resource, namespace, label_selector=WORKER_SELECTOR, resource_version=version)
            async for kind, body in watch:
                version = body["metadata"]["resourceVersion"]
                put(body, gone=kind == "DELETED")
        except ApiError as error:
            if error.status == GONE:
                version = ""  # All there is comes as added, one after the other.
                continue
            log.warning("watch.failed", kind=resource.kind, error=str(error), retry_in_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
