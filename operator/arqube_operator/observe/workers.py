"""Watches of the workers' Deployments and pods, feeding the cache.

By our own client: there are many of them, and kopf would keep more of each than the few facts a decision needs.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import structlog

from arqube_operator.kube.client import DEPLOYMENTS, PODS, ApiError, KubeClient, Resource
from arqube_operator.observe.cluster import WORKER_SELECTOR, ClusterCache, Versions

RETRY_S: Final = 2.0
SHORT_S: Final = 1.0
"""A watch that lasted less was of no use."""
GONE: Final = 410
"""The API server no longer knows what changed since a resourceVersion."""

log = structlog.get_logger(__name__)


async def follow_workers(client: KubeClient, cache: ClusterCache, versions: Versions) -> None:
    """Feed ``cache`` with all that changes after ``versions``, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for (resource, namespace), version in versions.items():
            if resource in (DEPLOYMENTS, PODS):
                group.create_task(_follow(client, cache, resource, namespace, version))


async def _follow(
    client: KubeClient, cache: ClusterCache, resource: Resource, namespace: str | None, version: str
) -> None:
    put: Any = cache.put_deployment if resource is DEPLOYMENTS else cache.put_pod
    while True:
        began = time.monotonic()
        try:
            watch = client.watch(resource, namespace, label_selector=WORKER_SELECTOR, resource_version=version)
            async for kind, body in watch:
                version = body["metadata"]["resourceVersion"]
                put(body, gone=kind == "DELETED")
        except ApiError as error:
            if error.status != GONE:
                log.warning("watch.failed", kind=resource.kind, error=str(error), retry_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            version = await _listed(client, cache, resource, namespace)
        # A server in trouble may end each watch at once: it is not to be asked hundreds of times a second.
        if time.monotonic() - began < SHORT_S:
            await asyncio.sleep(RETRY_S)


async def _listed(client: KubeClient, cache: ClusterCache, resource: Resource, namespace: str | None) -> str:
    """List all there is, as nobody can tell any more what has gone meanwhile; where to watch from."""
    while True:
        try:
            return await cache.relist(client, resource, namespace, WORKER_SELECTOR)
        except ApiError as error:
            log.warning("list.failed", kind=resource.kind, error=str(error), retry_in_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
